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

mod dsdt;
mod error;
mod fadt;
mod gsi;
mod gtdt;
mod madt;
mod mp;
mod numa;
mod oem;
mod pc;
mod pci;
mod platform;
mod pptt;
mod resources;
mod rhct;
mod spcr;
mod tables;

pub use error::AcpiError;
pub use mp::MpTables;
pub use pc::{Pc, ResetPort, SerialPort};
pub use tables::AcpiTables;
