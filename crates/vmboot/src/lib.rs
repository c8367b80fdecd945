#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

pub mod doctor;
pub mod report;

// The linker drops a plugin crate without a reference to it. See `boot_core::registry`.
use fmt_bzimage as _;
use fmt_elf as _;
use fmt_multiboot as _;
use fmt_pe as _;
use proto_fdt as _;
use proto_linux_x86 as _;
use proto_multiboot as _;
use proto_pvh as _;

/// Re-export of `boot-core`, whose types the functions and reports use.
pub use boot_core;
pub use boot_core::registry::{formats, protocols};

/// Tests the example in the README of the workspace.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct WorkspaceReadme;
