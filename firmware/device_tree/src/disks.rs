//! The disks of the machine, and its source of random bytes.
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
use fw_virtio::{DeviceError, EntropySource, VirtioDevice, mmio_device, pci_device};
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

/// The devices that the firmware uses.
#[derive(Default)]
pub(crate) struct Devices {
    pub(crate) disks: Vec<FoundDisk>,
    /// A source of random bytes.
    pub(crate) entropy: Option<Box<dyn EntropySource>>,
}

impl Devices {
    /// Adds a device that was started, or reports why it was not.
    fn add(
        &mut self,
        device: Result<Option<VirtioDevice>, DeviceError>,
        path: impl FnOnce() -> Option<DevicePathBuf>,
        failed: impl FnOnce(&DeviceError),
    ) {
        match device {
            Ok(Some(VirtioDevice::Disk(driver))) => self.disks.push(FoundDisk {
                driver,
                // A path is too long only behind more bridges than there are buses.
                path: path().unwrap_or_default(),
            }),
            Ok(Some(VirtioDevice::Entropy(source))) => {
                self.entropy.get_or_insert(source);
            }
            // The console is the serial port.
            Ok(Some(VirtioDevice::Console(_)) | None) => {}
            Err(error) => failed(&error),
        }
    }
}

/// Starts the drivers of all devices: first those of the MMIO devices, then those on PCI buses.
///
/// # Safety
///
/// The devices of `hardware` are mapped at their physical addresses as device memory, all RAM as normal memory which devices see as the CPU
/// does, and nothing else uses the devices.
pub(crate) unsafe fn devices<R: Registers>(
    hardware: &Hardware,
    registers: R,
    console: &dyn Console,
) -> Devices {
    let mut devices = Devices::default();
    for range in &hardware.virtio_mmio {
        let len = usize::try_from(range.len()).unwrap_or(usize::MAX);
        // SAFETY: the tree names registers of a virtio device; the caller guarantees the rest.
        let device = unsafe { mmio_device(range.start(), len) };
        devices.add(
            device,
            || path::mmio(*range).ok(),
            |error| {
                let (at, error) = (range.start(), Chain(error));
                print(console, format_args!("device at {at:#x}: {error}"));
            },
        );
    }
    for (host, number) in hardware.pci_hosts.iter().zip(0..) {
        // SAFETY: the tree names a configuration space, and the caller guarantees the rest.
        let mut config = unsafe { Ecam::new(host.ecam, registers) };
        for function in configure(&mut config, &mut bar_window(host)) {
            // SAFETY: the function is of this configuration space; the caller guarantees the rest.
            let device = unsafe { pci_device(config, &function) };
            devices.add(
                device,
                || path::pci(&config, number, function.at).ok(),
                |error| {
                    let (at, error) = (function.at, Chain(error));
                    print(console, format_args!("PCI device {at}: {error}"));
                },
            );
        }
    }
    devices
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
