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

#[cfg(test)]
extern crate std;

mod error;
mod kind;
mod offset;
mod relative;
mod relocations;

pub use error::{RelativeError, RelocationsError};
pub use kind::Kind;
pub use offset::VirtualOffset;
pub use relative::relocate_relative;
pub use relocations::{Relocations, relocate};
