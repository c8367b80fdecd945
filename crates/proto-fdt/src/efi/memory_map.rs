//! The EFI memory map of a boot, in pages of 4 KiB.

use alloc::vec::Vec;

use boot_core::{GuestRange, MemoryMap, RegionKind, arith};

use super::raw::{MemoryDescriptor, MemoryType};
use crate::reserved::ReservedRange;

/// The size of a page (UEFI 2.10, section 7.2.3).
pub(crate) const PAGE: u64 = 0x1000;

/// The descriptors of `memory` in the order of their addresses, without overlaps. RAM that is `reserved`, and the place of the EFI tables, `own`, are
/// not free.
pub(super) fn descriptors(
    memory: &MemoryMap,
    reserved: &[ReservedRange],
    own: GuestRange,
) -> Vec<MemoryDescriptor> {
    let mut memory = memory.clone();
    let reserved = reserved
        .iter()
        .map(|reserved| (reserved.range, RegionKind::Reserved));
    let taken = [(own, RegionKind::AcpiReclaimable)];
    for (range, kind) in reserved.chain(taken).filter(|(range, _)| !range.is_empty()) {
        let parts: Vec<GuestRange> = memory.ram().filter_map(|bank| bank.intersection(range)).collect();
        for part in parts.into_iter().filter(|part| !part.is_empty()) {
            // A part of a bank of RAM can be reserved.
            let _unused = memory.reserve(part, kind);
        }
    }
    let mut descriptors = Vec::new();
    // The end of the last descriptor: two regions may share a page.
    let mut last = 0;
    for region in memory.regions() {
        let (start, end) = (region.range.start(), region.range.end());
        // A page is RAM if all of it is.
        let (start, end) = if region.kind == RegionKind::Ram {
            (arith::align_up(start, PAGE), Some(arith::align_down(end, PAGE)))
        } else {
            (Some(arith::align_down(start, PAGE)), arith::align_up(end, PAGE))
        };
        let (Some(start), Some(end)) = (start, end) else {
            continue;
        };
        let start = start.max(last);
        let Some(len) = end.checked_sub(start).filter(|len| *len > 0) else {
            continue;
        };
        descriptors.push(MemoryDescriptor::new(memory_type(region.kind), start, len / PAGE));
        last = end;
    }
    descriptors
}

/// The type of memory of this kind.
const fn memory_type(kind: RegionKind) -> MemoryType {
    match kind {
        RegionKind::Ram => MemoryType::CONVENTIONAL,
        RegionKind::AcpiReclaimable => MemoryType::ACPI_RECLAIM,
        RegionKind::AcpiNvs => MemoryType::ACPI_NVS,
        RegionKind::Unusable => MemoryType::UNUSABLE,
        RegionKind::Persistent => MemoryType::PERSISTENT,
        _ => MemoryType::RESERVED,
    }
}
