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

mod metadata;
pub mod v1;
pub mod v2;

use boot_core::EntryAbi;
pub use metadata::{
    Console, Framebuffer, InfoRequest, LoadAddresses, Multiboot2Metadata, MultibootMetadata, Relocatable,
    UnknownTag, VideoMode,
};

/// A Multiboot 1 entry point: protected mode, `eax` holds [`v1::BOOTLOADER_MAGIC`], `ebx` the address of a [`v1::Info`]
/// (Multiboot 0.6.96, 3.2).
pub const MULTIBOOT: EntryAbi = EntryAbi::new("multiboot");

/// A Multiboot2 entry point for i386: protected mode, `eax` holds [`v2::BOOTLOADER_MAGIC`], `ebx` the address of a
/// [`v2::InfoHeader`] (Multiboot2 2.0, 3.3).
pub const MULTIBOOT2: EntryAbi = EntryAbi::new("multiboot2");
