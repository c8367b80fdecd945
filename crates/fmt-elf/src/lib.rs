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

pub mod error;
mod file;
mod header;
mod loads;
mod notes;
mod parse;
mod plugin;
mod pvh;
pub mod raw;
mod warning;

pub use error::ElfError;
pub use file::{ElfFile, MAX_PROGRAM_HEADERS, ProgramHeaders};
pub use header::{Class, Encoding, FileHeader, ProgramHeader};
pub use notes::{Note, Notes};
pub use parse::parse;
pub use plugin::{ElfFormat, FORMAT};
pub use pvh::{MAX_NOTES, PvhNotes, XEN_ELFNOTE_PHYS32_ENTRY, XEN_ELFNOTE_PHYS32_RELOC, XenReloc};
pub use warning::Warning;
