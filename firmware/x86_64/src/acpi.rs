//! What the ACPI tables tell about the machine.

use alloc::vec::Vec;

use boot_core::{GuestMemory, GuestRange};
#[cfg(feature = "efi")]
use fw_acpi::Power;
use fw_acpi::{Acpi, AcpiError, Fadt};
use fw_boot::Chain;

use crate::console::print;

/// Hardware identification of virtio devices with MMIO registers (Linux `drivers/virtio/virtio_mmio.c`).
const VIRTIO_MMIO: &str = "LNRO0005";

/// What the firmware uses of the tables.
pub(crate) struct Tables {
    /// Revision of the RSDP: 0 for ACPI 1.0, 2 for later versions.
    #[cfg(feature = "efi")]
    pub(crate) revision: u8,
    /// Registers of the machine.
    #[cfg(feature = "efi")]
    pub(crate) fadt: Fadt,
    /// Reset and power-off.
    #[cfg(feature = "efi")]
    pub(crate) power: Power,
    /// Memory of the tables.
    #[cfg(feature = "efi")]
    pub(crate) ranges: Vec<GuestRange>,
    /// Registers of virtio devices.
    pub(crate) virtio_mmio: Vec<GuestRange>,
}

impl Tables {
    /// Reads the tables of the RSDP at a physical address. A table that cannot be read or is malformed is reported, and the others are used.
    ///
    /// # Errors
    ///
    /// [`AcpiError`] if the root pointer, or its table of addresses, cannot be read or is malformed.
    pub(crate) fn read(memory: &dyn GuestMemory, rsdp: u64) -> Result<Self, AcpiError> {
        let acpi = Acpi::read(memory, rsdp)?;
        let report = |error: &AcpiError| print!("firmware: {}", Chain(error));
        let fadt: Option<Fadt> = acpi.fadt(memory).inspect_err(report).ok().flatten();
        let namespace = acpi.namespace(memory, fadt.as_ref(), &mut { report });
        let registers = namespace
            .devices_with_id(VIRTIO_MMIO)
            .filter_map(|device| device.memory.first())
            .filter_map(|range| GuestRange::new(range.addr, range.len));
        let virtio_mmio = registers.collect();
        #[cfg(feature = "efi")]
        let ranges = acpi.ranges(memory, fadt.as_ref());
        #[cfg(feature = "efi")]
        let fadt = fadt.unwrap_or_else(|| Fadt::parse(&[]));
        Ok(Self {
            #[cfg(feature = "efi")]
            revision: acpi.revision(),
            #[cfg(feature = "efi")]
            power: Power::new(&fadt, &namespace),
            #[cfg(feature = "efi")]
            ranges,
            #[cfg(feature = "efi")]
            fadt,
            virtio_mmio,
        })
    }
}
