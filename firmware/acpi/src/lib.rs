#![doc = include_str!("../README.md")]
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

mod aml;
mod error;
mod fadt;
mod tables;

pub use error::AcpiError;
pub use fadt::{Fadt, Register, Space};
pub use tables::Tables;
