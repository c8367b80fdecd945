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

mod error;
mod hash;
mod pages;
mod pieces;
mod plan;
mod registers;
pub mod snp;

pub use error::MeasureError;
pub use hash::{Digest, HashAlgorithm, Hasher};
pub use plan::{PLAN_ENCODING_VERSION, encode_plan, plan_digest};
