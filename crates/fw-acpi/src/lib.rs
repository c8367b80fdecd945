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

pub mod aml;
mod error;
mod fadt;
mod power;
pub mod raw;
mod tables;

pub use aml::{Device, MemoryRange, Namespace};
pub use error::{AcpiError, Signature, TableError};
pub use fadt::{AddressSpace, Fadt, PM_TIMER_HZ, Register};
pub use power::{Pm1Control, Power, Reset, SoftOff};
pub use tables::{Acpi, MAX_TABLE_LEN, MAX_TABLES, Table, find_rsdp};
