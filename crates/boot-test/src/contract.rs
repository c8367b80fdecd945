//! The requirements of boot protocols, checked in a plan at the offsets of the documents.

pub mod linux_x86;
pub mod pvh;

use boot_core::RegionKind;

/// The ACPI address range type of a region (ACPI specification, "System Address Map Interfaces").
fn address_range_type(kind: RegionKind) -> Result<u64, String> {
    match kind.name() {
        "ram" => Ok(1),
        "reserved" => Ok(2),
        "acpi-reclaimable" => Ok(3),
        "acpi-nvs" => Ok(4),
        "unusable" => Ok(5),
        "persistent" => Ok(7),
        other => Err(format!("a region of the kind {other}")),
    }
}
