//! The disks of the machine.
#![expect(unsafe_code, reason = "devices of the machine")]

use alloc::boxed::Box;
use alloc::vec::Vec;

use disk::BlockDevice;
use fw_virtio::pci::{BarWindow, configure};
use fw_virtio::{mmio_disk, pci_disk};

use crate::pci::PortAccess;
use crate::serial::print;

/// Start of the options that name MMIO devices (Linux `Documentation/admin-guide/kernel-parameters.txt`).
pub(crate) const MMIO_OPTION: &str = "virtio_mmio.device=";

/// Starts the drivers of all disks: first those of the MMIO devices in `options`, then those on PCI buses.
///
/// # Safety
///
/// All memory and all registers below 4 GiB are identity-mapped, and nothing else uses the disks.
pub(crate) unsafe fn disks(options: &[&str]) -> Vec<Box<dyn BlockDevice>> {
    let mut disks: Vec<Box<dyn BlockDevice>> = Vec::new();
    for option in options {
        let device = option
            .strip_prefix(MMIO_OPTION)
            .and_then(fw_virtio::parse_mmio_device);
        let Some(device) = device else {
            print!("firmware: {option} is not of the form {MMIO_OPTION}SIZE@ADDRESS:IRQ");
            continue;
        };
        // SAFETY: the VMM names registers of a device; the caller guarantees the rest.
        match unsafe { mmio_disk(device.addr, device.len) } {
            Ok(Some(disk)) => disks.push(Box::new(disk)),
            Ok(None) => {}
            Err(error) => print!("firmware: device at {:#x}: {error}", device.addr),
        }
    }
    let mut config = PortAccess;
    // Addresses for BARs without one are taken from the hole below the I/O APIC, where PCs have no RAM.
    let mut window = BarWindow::new(0xe000_0000, 0xfe00_0000);
    for function in configure(&mut config, &mut window) {
        if !function.is_disk() {
            continue;
        }
        // SAFETY: the function is of this configuration space; the caller guarantees the rest.
        match unsafe { pci_disk(PortAccess, &function) } {
            Ok(disk) => disks.push(Box::new(disk)),
            Err(error) => print!("firmware: PCI device {}: {error}", function.at),
        }
    }
    disks
}
