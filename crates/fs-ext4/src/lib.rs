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

mod blocks;
mod directory;
mod error;
mod geometry;
mod inode;
mod journal;
mod limits;
mod map;
mod overlay;
pub mod raw;
mod resolve;
mod volume;

pub use error::{Ext4Error, Field, InodeDefect, JournalDefect, SuperblockError};
pub use geometry::Geometry;
pub use limits::{MAX_DIRECTORY_LEN, MAX_JOURNAL_ENTRIES, MAX_MAP_BLOCKS, MAX_PIECES, MAX_SYMLINKS};
pub use volume::{Ext4File, Ext4Fs};
