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
mod fit;
mod open;
mod uimage;
mod unpack;
mod wrapper;
mod wrappers;

pub use error::{OpenError, OpenProblem, UnpackError};
pub use fit::{FitError, FitTreeError};
pub use open::{Layer, Limits, open};
pub use uimage::{UImageError, UImageHeader};
pub use unpack::unpack;
pub use wrapper::{Wrapper, find};
pub use wrappers::{
    BZIMAGE, BzImageWrapper, COMPRESSED, CompressedWrapper, FIT, FitWrapper, UIMAGE, UImageWrapper, WRAPPERS,
    ZBOOT, ZbootWrapper,
};
