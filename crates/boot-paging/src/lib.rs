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

mod attributes;
mod entry;
mod error;
mod scheme;
mod tables;
mod walk;

pub use attributes::{Access, Attributes, MAIR_EL1, MemoryType};
pub use error::{MapError, MappingPart, TablesError, TranslateError};
pub use scheme::{PageSize, Scheme};
pub use tables::{Mapping, PageTables};
pub use walk::{Page, Pages, table_of, translate};
