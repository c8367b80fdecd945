//! The disks of the machine, and its source of random bytes.
#![expect(unsafe_code, reason = "devices of the machine")]

use alloc::boxed::Box;
use alloc::vec::Vec;

use boot_core::GuestRange;
use disk::BlockDevice;
use fw_boot::Chain;
use fw_virtio::pci::{BarWindow, DeviceFunction, configure};
use fw_virtio::{ByteConsole, DeviceError, EntropySource, VirtioDevice, mmio_device, pci_device};

use crate::console::{CONSOLE, print};
use crate::mmu::MAPPED_END;
use crate::pci::PortAccess;

/// Start of the options that name MMIO devices (Linux `Documentation/admin-guide/kernel-parameters.txt`).
const MMIO_OPTION: &str = "virtio_mmio.device=";

/// A disk.
pub(crate) struct Disk {
    pub(crate) device: Box<dyn BlockDevice>,
    /// Used for device paths.
    #[cfg_attr(not(feature = "efi"), expect(dead_code, reason = "for EFI"))]
    pub(crate) place: Place,
}

/// Where a device is.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(not(feature = "efi"), expect(dead_code, reason = "for EFI"))]
pub(crate) enum Place {
    /// A function of a PCI device.
    Pci(DeviceFunction),
    /// Memory-mapped registers.
    Mmio(GuestRange),
}

/// The registers of the MMIO devices that are among the options.
pub(crate) fn named(options: &[&str]) -> Vec<GuestRange> {
    let mut found = Vec::new();
    for option in options {
        let Some(value) = option.strip_prefix(MMIO_OPTION) else {
            continue;
        };
        let device = fw_virtio::parse_mmio_device(value)
            .and_then(|device| GuestRange::new(device.addr, u64::try_from(device.len).ok()?));
        match device {
            Some(registers) => found.push(registers),
            None => print!("firmware: {option} is not of the form {MMIO_OPTION}SIZE@ADDRESS:IRQ"),
        }
    }
    found
}

/// The devices that the firmware uses.
#[derive(Default)]
pub(crate) struct Devices {
    pub(crate) disks: Vec<Disk>,
    /// A source of random bytes.
    pub(crate) entropy: Option<Box<dyn EntropySource>>,
    /// Where the console is, if it is not COM1.
    pub(crate) console: Option<Place>,
}

impl Devices {
    /// Adds a device that was started.
    fn add(
        &mut self,
        device: Result<Option<VirtioDevice>, DeviceError>,
        place: Place,
    ) -> Result<(), DeviceError> {
        match device? {
            Some(VirtioDevice::Disk(device)) => self.disks.push(Disk { device, place }),
            Some(VirtioDevice::Entropy(source)) => {
                self.entropy.get_or_insert(source);
            }
            Some(VirtioDevice::Console(console)) => self.add_console(console, place),
            None => {}
        }
        Ok(())
    }

    /// Uses a console where there is no other.
    fn add_console(&mut self, console: Box<dyn ByteConsole>, place: Place) {
        if CONSOLE.attach(console) {
            self.console = Some(place);
            print!("firmware: the console is a virtio device");
        }
    }
}

/// Starts the drivers of all devices: first those with the registers `mmio`, then those on PCI buses.
///
/// # Safety
///
/// All memory and all registers below 4 GiB are identity-mapped, and nothing else uses the devices.
pub(crate) unsafe fn devices(mmio: &[GuestRange]) -> Devices {
    let mut devices = Devices::default();
    for registers in mmio {
        if registers.end() > MAPPED_END {
            let (start, end) = (registers.start(), registers.end());
            print!(
                "firmware: device at {start:#x}: its registers end at {end:#x}, behind the mapped {MAPPED_END:#x} bytes"
            );
            continue;
        }
        let len = usize::try_from(registers.len()).unwrap_or(usize::MAX);
        // SAFETY: the VMM names registers of a device; the caller guarantees the rest.
        let device = unsafe { mmio_device(registers.start(), len) };
        if let Err(error) = devices.add(device, Place::Mmio(*registers)) {
            print!("firmware: device at {:#x}: {}", registers.start(), Chain(&error));
        }
    }
    let mut config = PortAccess;
    // Addresses for BARs without one are taken from the hole below the I/O APIC, where PCs have no RAM.
    let mut window = BarWindow::new(0xe000_0000, 0xfe00_0000);
    for function in configure(&mut config, &mut window) {
        // SAFETY: the function is of this configuration space; the caller guarantees the rest.
        let device = unsafe { pci_device(PortAccess, &function) };
        if let Err(error) = devices.add(device, Place::Pci(function.at)) {
            print!("firmware: PCI device {}: {}", function.at, Chain(&error));
        }
    }
    devices
}
