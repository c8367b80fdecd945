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

pub mod label;

mod bios_data;
mod block;
mod error;
mod files;
mod place;
mod v1;
mod v2;
mod warning;

pub use error::InfoRequestError;
pub use v1::{Multiboot, PROTOCOL_MULTIBOOT};
pub use v2::{Multiboot2, PROTOCOL_MULTIBOOT2, Rsdp};
pub use warning::Warning;

#[cfg(feature = "registry")]
inventory::submit! { boot_core::registry::Protocol(&PROTOCOL_MULTIBOOT) }
#[cfg(feature = "registry")]
inventory::submit! { boot_core::registry::Protocol(&PROTOCOL_MULTIBOOT2) }
