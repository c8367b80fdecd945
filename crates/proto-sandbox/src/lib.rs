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

mod descriptor;
mod entry;
mod error;
mod layout;
mod mmu;
mod pages;
mod plan;
mod plugin;
mod rules;
mod sizes;
mod tables;

pub use entry::Entry;
pub use error::{EntryError, LayoutError, Size};
pub use layout::GuestLayout;
pub use plan::{SandboxPlan, plan};
pub use plugin::{PROTOCOL, Sandbox};
pub use sizes::Sizes;

#[cfg(feature = "registry")]
inventory::submit! { boot_core::registry::Protocol(&PROTOCOL) }
