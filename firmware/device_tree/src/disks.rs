//! The disks of the machine.
#![expect(unsafe_code, reason = "devices of the machine")]

use alloc::boxed::Box;
use alloc::vec::Vec;

use boot_core::machine::PciSpace;
use disk::BlockDevice;
use efi_core::device_path::DevicePathBuf;
use fw_boot::Chain;
use fw_efi::path;
use fw_runtime::Console;
use fw_virtio::pci::{BarWindow, configure};
use fw_virtio::{mmio_disk, pci_disk};
use proto_fdt::read::PciHostBridge;

use crate::ecam::Ecam;
use crate::hardware::Hardware;
use crate::print::print;
use crate::registers::Registers;

/// A disk.
pub(crate) struct FoundDisk {
    pub(crate) driver: Box<dyn BlockDevice>,
    /// Its device path in EFI.
    pub(crate) path: DevicePathBuf,
}

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
) -> Vec<FoundDisk> {
    let mut disks: Vec<FoundDisk> = Vec::new();
    let mut add = |driver: Box<dyn BlockDevice>, path: Result<DevicePathBuf, _>| {
        // A path is too long only behind more bridges than there are buses.
        let path = path.unwrap_or_default();
        disks.push(FoundDisk { driver, path });
    };
    for range in &hardware.virtio_mmio {
        let len = usize::try_from(range.len()).unwrap_or(usize::MAX);
        // SAFETY: the tree names registers of a virtio device; the caller guarantees the rest.
        match unsafe { mmio_disk(range.start(), len) } {
            Ok(Some(disk)) => add(Box::new(disk), path::mmio(*range)),
            Ok(None) => {}
            Err(error) => {
                let (at, error) = (range.start(), Chain(&error));
                print(console, format_args!("device at {at:#x}: {error}"));
            }
        }
    }
    for (host, number) in hardware.pci_hosts.iter().zip(0..) {
        // SAFETY: the tree names a configuration space, and the caller guarantees the rest.
        let mut config = unsafe { Ecam::new(host.ecam, registers) };
        for function in configure(&mut config, &mut bar_window(host)) {
            if !function.is_disk() {
                continue;
            }
            // SAFETY: the function is of this configuration space; the caller guarantees the rest.
            match unsafe { pci_disk(config, &function) } {
                Ok(disk) => add(Box::new(disk), path::pci(&config, number, function.at)),
                Err(error) => {
                    let (at, error) = (function.at, Chain(&error));
                    print(console, format_args!("PCI device {at}: {error}"));
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
