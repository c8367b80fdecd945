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

mod error;
pub mod label;
pub mod page_tables;
mod plugin;
pub mod setup_data;
pub mod zero_page;

pub use error::LinuxX86Error;
pub use plugin::{EntryChoice, LinuxX86, PROTOCOL};

#[cfg(feature = "registry")]
inventory::submit! { boot_core::registry::Protocol(&PROTOCOL) }
