//! What the firmware uses of the ACPI tables.

use alloc::vec::Vec;

use boot_core::{GuestMemory, GuestRange};
use fw_acpi::{Acpi, AcpiError, Fadt, Namespace, Power, find_rsdp};
use fw_boot::Chain;

use crate::serial::print;

/// Hardware identification of virtio devices with MMIO registers (Linux `drivers/virtio/virtio_mmio.c`).
const VIRTIO_MMIO: &str = "LNRO0005";

/// Tables that could be read.
pub(crate) struct Tables {
    /// Registers of virtio devices.
    pub(crate) virtio_mmio: Vec<GuestRange>,
    /// The rest, which only EFI uses.
    #[cfg_attr(not(feature = "efi"), expect(dead_code, reason = "for EFI"))]
    pub(crate) efi: EfiTables,
}

/// What EFI uses of the tables.
#[cfg_attr(not(feature = "efi"), expect(dead_code, reason = "for EFI"))]
pub(crate) struct EfiTables {
    /// Revision of the root pointer.
    pub(crate) revision: u8,
    /// Memory of the tables.
    pub(crate) ranges: Vec<GuestRange>,
    pub(crate) fadt: Option<Fadt>,
    pub(crate) power: Power,
}

/// Address of the root pointer: the one that the VMM passed, or the one that a BIOS left.
pub(crate) fn root_pointer(memory: &dyn GuestMemory, passed: Option<u64>) -> Option<u64> {
    passed.or_else(|| find_rsdp(memory))
}

impl Tables {
    /// Reads the tables; `None` with a message if they cannot be read.
    pub(crate) fn read(memory: &dyn GuestMemory, rsdp: u64) -> Option<Self> {
        try_read(memory, rsdp)
            .inspect_err(|error| print!("firmware: ACPI: {}", Chain(error)))
            .ok()
    }
}

fn try_read(memory: &dyn GuestMemory, rsdp: u64) -> Result<Tables, AcpiError> {
    let acpi = Acpi::read(memory, rsdp)?;
    let fadt = acpi.fadt(memory)?;
    // Without a readable namespace, there are no devices and no states.
    let namespace = acpi.namespace(memory).unwrap_or_else(|error| {
        print!("firmware: ACPI: {}", Chain(&error));
        Namespace::default()
    });
    let devices = namespace.devices_with_id(VIRTIO_MMIO);
    let first = devices.filter_map(|device| device.memory.first().copied());
    Ok(Tables {
        virtio_mmio: first
            .filter_map(|range| GuestRange::new(range.addr, range.len))
            .collect(),
        efi: EfiTables {
            revision: acpi.revision(),
            ranges: acpi.ranges(memory),
            power: fadt
                .as_ref()
                .map(|fadt| Power::new(fadt, &namespace))
                .unwrap_or_default(),
            fadt,
        },
    })
}
