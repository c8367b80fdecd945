//! Virtio over PCI (Virtio 1.2, section 4.1).
#![expect(unsafe_code, reason = "registers of devices")]

mod configure;

#[doc(no_inline)]
pub use virtio_drivers::transport::pci::bus::{Cam, ConfigurationAccess, DeviceFunction, MmioCam};

use virtio_drivers::transport::pci::PciTransport;
use virtio_drivers::transport::pci::bus::PciRoot;

pub use self::configure::{BarWindow, Function, configure};

use crate::block::VirtioDisk;
use crate::device::{self, VirtioDevice};
use crate::error::DeviceError;
use crate::transport::AnyTransport;

/// Vendor of virtio devices (4.1.2).
const VIRTIO_VENDOR: u16 = 0x1af4;
/// Device id of a disk: transitional, and 0x1040 plus the type of the device.
const DISK_IDS: [u16; 2] = [0x1001, 0x1042];

/// The same of all devices with a driver: disks, consoles, sources of random bytes.
const KNOWN_IDS: [u16; 6] = [0x1001, 0x1042, 0x1003, 0x1043, 0x1005, 0x1044];

impl Function {
    /// Whether it is a virtio disk.
    #[must_use]
    pub fn is_disk(&self) -> bool {
        self.vendor == VIRTIO_VENDOR && DISK_IDS.contains(&self.device)
    }

    /// Whether it is a virtio device.
    #[must_use]
    pub const fn is_virtio(&self) -> bool {
        self.vendor == VIRTIO_VENDOR
    }
}

/// Starts the driver of the disk `function`, which [`configure`] found.
///
/// # Errors
///
/// [`DeviceError`] if the device cannot be used.
///
/// # Safety
///
/// `config` is the configuration space in which [`configure`] found the function, and nothing else uses the device. All its BARs are mapped at
/// their physical addresses as device memory for the life of the program, and all memory from the global allocator as normal memory, which
/// the device sees as the CPU does.
pub unsafe fn pci_disk<C: ConfigurationAccess>(
    config: C,
    function: &Function,
) -> Result<VirtioDisk, DeviceError> {
    VirtioDisk::new(transport(config, function.at)?)
}

/// Starts the driver of the virtio device `function`, which [`configure`] found. `None` if it has a type without a driver here.
///
/// # Errors
///
/// [`DeviceError`] if the device cannot be used.
///
/// # Safety
///
/// Those of [`pci_disk`].
pub unsafe fn pci_device<C: ConfigurationAccess>(
    config: C,
    function: &Function,
) -> Result<Option<VirtioDevice>, DeviceError> {
    if !function.is_virtio() || !KNOWN_IDS.contains(&function.device) {
        return Ok(None);
    }
    device::start(transport(config, function.at)?)
}

/// The registers of a device.
fn transport<C: ConfigurationAccess>(config: C, at: DeviceFunction) -> Result<AnyTransport, DeviceError> {
    let mut root = PciRoot::new(config);
    let transport = PciTransport::new::<crate::hal::IdentityMapped, C>(&mut root, at);
    Ok(AnyTransport::Pci(transport.map_err(DeviceError::Pci)?))
}
