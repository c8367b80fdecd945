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

pub mod device_tree;
pub mod label;
pub mod raw;
pub mod read;

mod chosen;
mod create;
mod efi;
mod error;
mod layout;
mod plan;
mod plugin;
mod reserved;
mod update;
mod warning;

pub use chosen::Chosen;
pub use create::{boot_cpu_id, create_chosen_fdt, create_fdt};
pub use efi::EfiHandover;
pub use error::{CreateFdtError, FdtWriterError, NodeError};
pub use plugin::{Arm64, PROTOCOL_ARM64, PROTOCOL_RISCV64, Riscv64};
pub use reserved::ReservedRange;
pub use update::{UpdateFdtError, check_reserved_memory, reserved_ranges, update_fdt};
pub use warning::Warning;

#[cfg(feature = "registry")]
inventory::submit! { boot_core::registry::Protocol(&PROTOCOL_ARM64) }
#[cfg(feature = "registry")]
inventory::submit! { boot_core::registry::Protocol(&PROTOCOL_RISCV64) }
