#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    warn(
        clippy::arithmetic_side_effects,
        clippy::as_conversions,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        clippy::unwrap_used
    )
)]

mod block;
mod chain;
mod config;
mod disk;
mod overlay;
mod registers;
mod slot;

pub use disk::{Disk, DiskConfig, DiskError, DiskMode, SECTOR};
pub use registers::BlockDevice;
pub use slot::{block_device, linux_option};
