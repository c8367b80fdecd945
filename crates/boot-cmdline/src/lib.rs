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

mod cmdline;
mod error;
mod fast;
mod param;
mod raw;
mod scan;
#[cfg(test)]
mod tests;

pub use cmdline::Cmdline;
pub use error::{CmdlineError, CmdlinePart};
pub use fast::{FastArg, FastStart};
pub use param::{InitArg, Param};
pub use raw::{CmdlineRef, RawCmdline};
