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

mod encoding;
mod error;
mod evidence;
mod file;
#[cfg(feature = "sandbox")]
mod guest;
mod header;
mod limits;
#[cfg(feature = "near-miss")]
mod near_miss;
mod note_error;
mod note_scan;
mod notes;
mod parse;
mod plugin;
mod pvh;
pub mod raw;
mod riscv;
mod segments;
mod warning;

pub use encoding::{Class, Encoding};
pub use error::{ElfError, Field, FileRegion, Unsupported, ValidValues};
pub use file::{ElfFile, ProgramHeaders};
pub use header::{FileHeader, ProgramHeader};
pub use limits::{MAX_NOTES, MAX_PROGRAM_HEADERS};
#[cfg(feature = "near-miss")]
pub use near_miss::NearMiss;
pub use note_error::NoteError;
pub use notes::{Note, Notes};
pub use parse::parse;
pub use plugin::{ElfFormat, FORMAT};
pub use pvh::{Phys32Reloc, PvhNotes, XEN_ELFNOTE_PHYS32_ENTRY, XEN_ELFNOTE_PHYS32_RELOC};
pub use warning::Warning;
