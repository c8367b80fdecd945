#![doc = include_str!("../README.md")]
#![no_std]
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

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod crc;
pub mod device_path;
pub mod events;
pub mod guids;
pub mod handles;
pub mod images;
pub mod memory;
pub mod sorted_map;
pub mod status;
pub mod time;
pub mod variables;

pub use status::{Result, Status};
pub use uguid::{Guid, guid};
