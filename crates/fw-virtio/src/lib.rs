#![doc = include_str!("../README.md")]
#![no_std]
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

mod block;
mod console;
mod device;
mod entropy;
mod error;
mod hal;
mod mmio;
mod option;
pub mod pci;
mod transport;

pub use block::VirtioDisk;
pub use console::ByteConsole;
pub use device::VirtioDevice;
pub use entropy::EntropySource;
pub use error::DeviceError;
pub use mmio::{mmio_device, mmio_disk};
pub use option::{MmioDevice, parse_mmio_device};
pub use pci::{pci_device, pci_disk};
