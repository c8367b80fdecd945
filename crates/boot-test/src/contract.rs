//! The requirements of boot protocols, checked in a plan at the offsets of the documents.

pub mod linux_x86;
pub mod multiboot;
pub mod pvh;

use boot_core::cpu::x86_64::State;
use boot_core::{BootPlan, CpuState, MemoryRegion, RegionKind};

use crate::view::View;

/// The state of the only CPU that is started.
fn boot_cpu(plan: &BootPlan) -> Result<&State, String> {
    match plan.cpus() {
        [CpuState::X86_64(state)] => Ok(state),
        other => Err(format!("{} CPUs are started", other.len())),
    }
}

/// Checks that no other load is in the kernel's extent.
fn check_extent(plan: &BootPlan) -> Result<(), String> {
    let (start, end) = (plan.kernel().start(), plan.kernel().end());
    for load in plan.loads().iter().filter(|load| !load.is_kernel()) {
        ensure!(
            load.range.end() <= start || end <= load.range.start(),
            "{load:?} is in the kernel's extent"
        );
    }
    Ok(())
}

/// Checks the entry of a memory map at `at`: address, size, and a type of `type_len` bytes.
fn check_region(view: &View<'_>, at: u64, type_len: u64, region: &MemoryRegion) -> Result<(), String> {
    let entry = (
        view.number(at, 8)?,
        view.number(at + 8, 8)?,
        view.number(at + 16, type_len)?,
    );
    let kind = address_range_type(region.kind)?;
    ensure!(
        entry == (region.range.start(), region.range.len(), kind),
        "{region:?} became {entry:x?}"
    );
    Ok(())
}

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
