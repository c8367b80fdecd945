//! What the ACPI tables tell about the machine.

use alloc::vec::Vec;

use boot_core::GuestMemory;
use fw_acpi::{Acpi, AcpiError, MemoryRange, find_rsdp};
use fw_boot::Chain;

use crate::serial::print;

/// Hardware identification of virtio devices with MMIO registers (Linux `drivers/virtio/virtio_mmio.c`).
const VIRTIO_MMIO: &str = "LNRO0005";

/// Address of the root pointer: the one that the VMM passed, or the one that a BIOS left.
pub(crate) fn root_pointer(memory: &dyn GuestMemory, passed: Option<u64>) -> Option<u64> {
    passed.or_else(|| find_rsdp(memory))
}

/// The registers of the virtio devices that the tables name.
pub(crate) fn virtio_registers(memory: &dyn GuestMemory, rsdp: Option<u64>) -> Vec<MemoryRange> {
    let Some(rsdp) = rsdp else {
        return Vec::new();
    };
    read(memory, rsdp).unwrap_or_else(|error| {
        print!("firmware: ACPI: {}", Chain(&error));
        Vec::new()
    })
}

fn read(memory: &dyn GuestMemory, rsdp: u64) -> Result<Vec<MemoryRange>, AcpiError> {
    let namespace = Acpi::read(memory, rsdp)?.namespace(memory)?;
    let devices = namespace.devices_with_id(VIRTIO_MMIO);
    Ok(devices
        .filter_map(|device| device.memory.first().copied())
        .collect())
}
