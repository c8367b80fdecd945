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

pub mod blob;
pub mod fixup;
pub mod raw;
pub mod tree;

mod error;
mod layout;
mod plan;
mod plugin;
mod warning;

pub use error::TreeError;
pub use plugin::{Arm64, PROTOCOL_ARM64, PROTOCOL_RISCV64, Riscv64};
pub use tree::Chosen;
pub use warning::Warning;

#[cfg(feature = "registry")]
inventory::submit! { boot_core::registry::Protocol(&PROTOCOL_ARM64) }
#[cfg(feature = "registry")]
inventory::submit! { boot_core::registry::Protocol(&PROTOCOL_RISCV64) }
