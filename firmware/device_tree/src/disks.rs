//! The disks of the machine.
#![expect(unsafe_code, reason = "devices of the machine")]

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt::Write as _;

use boot_core::machine::PciSpace;
use disk::BlockDevice;
use fw_boot::Chain;
use fw_runtime::{Console, Writer};
use fw_virtio::pci::{BarWindow, configure};
use fw_virtio::{mmio_disk, pci_disk};
use proto_fdt::read::PciHostBridge;

use crate::ecam::Ecam;
use crate::hardware::Hardware;
use crate::registers::Registers;

/// Starts the drivers of all disks: first those of the MMIO devices, then those on PCI buses.
///
/// # Safety
///
/// The devices of `hardware` are mapped at their physical addresses as device memory, all RAM as normal memory which devices see as the CPU
/// does, and nothing else uses the disks.
pub(crate) unsafe fn disks<R: Registers>(
    hardware: &Hardware,
    registers: R,
    console: &dyn Console,
) -> Vec<Box<dyn BlockDevice>> {
    let mut disks: Vec<Box<dyn BlockDevice>> = Vec::new();
    for range in &hardware.virtio_mmio {
        let len = usize::try_from(range.len()).unwrap_or(usize::MAX);
        // SAFETY: the tree names registers of a virtio device; the caller guarantees the rest.
        match unsafe { mmio_disk(range.start(), len) } {
            Ok(Some(disk)) => disks.push(Box::new(disk)),
            Ok(None) => {}
            Err(error) => {
                let _ = writeln!(
                    Writer(console),
                    "firmware: device at {:#x}: {}",
                    range.start(),
                    Chain(&error)
                );
            }
        }
    }
    for host in &hardware.pci_hosts {
        // SAFETY: the tree names a configuration space, and the caller guarantees the rest.
        let mut config = unsafe { Ecam::new(host.ecam, registers) };
        for function in configure(&mut config, &mut bar_window(host)) {
            if !function.is_disk() {
                continue;
            }
            // SAFETY: the function is of this configuration space; the caller guarantees the rest.
            match unsafe { pci_disk(config, &function) } {
                Ok(disk) => disks.push(Box::new(disk)),
                Err(error) => {
                    let _ = writeln!(
                        Writer(console),
                        "firmware: PCI device {}: {}",
                        function.at,
                        Chain(&error)
                    );
                }
            }
        }
    }
    disks
}

/// The addresses for BARs: the first window for 32-bit addresses that are those of the CPU.
fn bar_window(host: &PciHostBridge) -> BarWindow {
    let mut windows = host.windows.iter();
    let usable =
        windows.find(|window| window.space == PciSpace::Memory32 && window.pci_addr == window.range.start());
    usable.map_or(BarWindow::EMPTY, |window| {
        BarWindow::new(window.range.start(), window.range.end())
    })
}
