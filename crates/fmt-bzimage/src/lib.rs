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
mod layout;
mod parse;
mod plugin;
pub mod raw;
mod warning;

pub use error::{BzImageError, Malformed, Unsupported};
pub use parse::{BzImage, KernelInfo, parse};
pub use plugin::{BzImageFormat, FORMAT};
pub use warning::Warning;
