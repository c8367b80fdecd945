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

#[cfg(feature = "ext4")]
mod below;
mod boot;
mod chain;
mod config;
mod event;
mod start;
mod volume_error;
mod volumes;

pub use boot::boot;
pub use chain::Chain;
pub use config::BootConfig;
pub use event::Event;
pub use start::EntryError;
pub use volume_error::VolumeError;
