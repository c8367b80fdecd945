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

mod error;
mod header;
mod layout;
mod parse;
mod plugin;
mod v1;
mod v2;
mod warning;

pub use error::{Field, MultibootError, Unsupported, ValidValues};
pub use parse::parse;
pub use plugin::{FORMAT, MultibootFormat};
pub use warning::Warning;
