#![doc = include_str!("../README.md")]
#![no_std]
#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    warn(
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        clippy::as_conversions,
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic
    )
)]

#[cfg(test)]
extern crate std;

mod cpus;
mod digest;
mod expectation;
mod memory;
mod mode;
mod number;
mod parse;

pub use cpus::Cpus;
pub use digest::{Digest, Fnv1a64};
pub use expectation::{Blob, CmdlineDigest, Entry, Expectation, Image, Irqchip, MAX_MODULES, Module};
pub use memory::{Memory, MemoryRange, Ranges};
pub use mode::Mode;
pub use parse::{CmdlineCheck, ParseError, ParseErrorKind, Request};
