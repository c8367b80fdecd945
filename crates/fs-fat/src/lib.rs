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

mod chain;
mod directory;
mod error;
mod geometry;
mod limits;
mod long_name;
mod name;
pub mod raw;
mod table;
mod time;
mod volume;

pub use error::{BootSectorError, ChainDefect, FatError, Field, OtherFormat};
pub use geometry::{FatKind, Geometry};
pub use limits::{MAX_DIRECTORY_LEN, MAX_PIECES};
pub use volume::{FatFile, FatFs};
