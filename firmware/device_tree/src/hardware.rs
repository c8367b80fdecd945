//! The hardware that the firmware uses.

use alloc::vec::Vec;

use boot_core::{GuestRange, MemoryMap};
use proto_fdt::device_tree::DeviceTree;
use proto_fdt::read::{self, PciHostBridge, ReadFdtError, SerialPort};
use proto_fdt::{ReservedRange, reserved_ranges};

/// The hardware that the firmware uses.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Hardware {
    /// RAM, with the reserved ranges.
    pub memory: MemoryMap,
    /// Ranges of RAM that belong to others.
    pub reserved: Vec<ReservedRange>,
    /// The console.
    pub console: Option<SerialPort>,
    /// Registers of virtio devices.
    pub virtio_mmio: Vec<GuestRange>,
    /// PCI hosts.
    pub pci_hosts: Vec<PciHostBridge>,
    /// Random bytes for the kernel.
    pub rng_seed: Option<Vec<u8>>,
    /// Random number for the kernel's address space layout.
    pub kaslr_seed: Option<u64>,
}

impl Hardware {
    /// Reads the tree. Devices that cannot be read are reported, and left out.
    ///
    /// # Errors
    ///
    /// The memory of the machine cannot be read.
    pub fn read(tree: &DeviceTree<'_>, report: &mut dyn FnMut(&ReadFdtError)) -> Result<Self, ReadFdtError> {
        let mut or_none = |error| report(&error);
        Ok(Self {
            memory: read::memory(tree)?,
            reserved: reserved_ranges(tree)?,
            console: read::serial_port(tree).map_err(&mut or_none).ok().flatten(),
            virtio_mmio: read::virtio_mmio(tree).map_err(&mut or_none).unwrap_or_default(),
            rng_seed: read::rng_seed(tree).map(<[u8]>::to_vec),
            kaslr_seed: read::kaslr_seed(tree),
            pci_hosts: read::pci_hosts(tree).map_err(&mut or_none).unwrap_or_default(),
        })
    }

    /// Registers and windows of the devices, in no order; they may overlap.
    pub fn device_ranges(&self) -> impl Iterator<Item = GuestRange> + '_ {
        let windows = |host: &PciHostBridge| {
            let windows = host.windows.iter().map(|window| window.range);
            windows.chain([host.ecam]).collect::<Vec<_>>()
        };
        let console = self.console.iter().map(|port| port.range);
        console
            .chain(self.virtio_mmio.iter().copied())
            .chain(self.pci_hosts.iter().flat_map(windows))
    }
}
