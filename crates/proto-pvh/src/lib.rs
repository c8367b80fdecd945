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

pub mod label;
pub mod raw;

mod plugin;
mod read;
mod start_info;
mod warning;

pub use plugin::{PROTOCOL, Pvh};
pub use read::{MAX_CMDLINE, MAX_MEMMAP_ENTRIES, StartInfoError, Started, read_start_info};
pub use warning::Warning;

#[cfg(feature = "registry")]
inventory::submit! { boot_core::registry::Protocol(&PROTOCOL) }
