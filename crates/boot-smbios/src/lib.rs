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
mod identity;
mod raw;
mod structure;
mod tables;

pub use error::SmbiosError;
pub use identity::Identity;
pub use tables::SmbiosTables;
