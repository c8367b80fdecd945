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

mod image;
mod note;
mod record;
mod table;

use boot_core::EntryAbi;

pub use image::{GuestImage, GuestSegment, LinkFeatures, SegmentAccess};
pub use note::{GuestNote, GuestNoteError, GuestTable, NotePart};
pub use record::{Function, RecordError};
pub use table::{FunctionTable, TableError, read_functions};

/// Entry point of a guest program: [`Note::entry`](sandbox_abi::Note::entry) has the state of the CPU.
pub const SANDBOX: EntryAbi = EntryAbi::new("sandbox");
