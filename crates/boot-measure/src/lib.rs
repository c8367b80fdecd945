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

mod authenticode;
mod content;
mod error;
mod hash;
#[cfg(feature = "igvm")]
pub mod igvm;
pub mod ovmf;
mod pages;
pub mod pcr;
mod pieces;
mod plan;
mod registers;
pub mod snp;
pub mod tdx;

pub use authenticode::{AuthenticodeError, authenticode_digest};
pub use content::Content;
pub use error::MeasureError;
pub use hash::{Digest, HashAlgorithm, Hasher};
pub use plan::{PLAN_ENCODING_VERSION, encode_plan, plan_digest};
