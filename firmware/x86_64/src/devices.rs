//! The disks of the machine.
#![expect(unsafe_code, reason = "devices of the machine")]

use alloc::boxed::Box;
use alloc::vec::Vec;

use disk::BlockDevice;
use fw_acpi::MemoryRange;
use fw_virtio::pci::{BarWindow, configure};
use fw_virtio::{mmio_disk, pci_disk};

use crate::mmu::MAPPED_END;
use crate::pci::PortAccess;
use crate::serial::print;

/// Start of the options that name MMIO devices (Linux `Documentation/admin-guide/kernel-parameters.txt`).
const MMIO_OPTION: &str = "virtio_mmio.device=";

/// Starts the drivers of all disks: first those of the MMIO devices in `options`, then those with the registers that ACPI names, then those on
/// PCI buses.
///
/// # Safety
///
/// All memory and all registers below 4 GiB are identity-mapped, and nothing else uses the disks.
pub(crate) unsafe fn disks(options: &[&str], registers: &[MemoryRange]) -> Vec<Box<dyn BlockDevice>> {
    let mut places: Vec<(u64, usize)> = Vec::new();
    for option in options {
        let Some(value) = option.strip_prefix(MMIO_OPTION) else {
            continue;
        };
        match fw_virtio::parse_mmio_device(value) {
            Some(device) => places.push((device.addr, device.len)),
            None => print!("firmware: {option} is not of the form {MMIO_OPTION}SIZE@ADDRESS:IRQ"),
        }
    }
    for range in registers {
        let is_known = places.iter().any(|(addr, _)| *addr == range.addr);
        match usize::try_from(range.len) {
            Ok(len) if !is_known && range.addr.saturating_add(range.len) <= MAPPED_END => {
                places.push((range.addr, len));
            }
            _ => {}
        }
    }
    let mut disks: Vec<Box<dyn BlockDevice>> = Vec::new();
    for (addr, len) in places {
        // SAFETY: the VMM names registers of a device; the caller guarantees the rest.
        match unsafe { mmio_disk(addr, len) } {
            Ok(Some(disk)) => disks.push(Box::new(disk)),
            Ok(None) => {}
            Err(error) => print!("firmware: device at {addr:#x}: {error}"),
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
