//! The EFI memory map of a machine.

use alloc::vec::Vec;

use boot_core::{GuestRange, MemoryMap as MachineMap, RegionKind};
use efi_core::Result;
use efi_core::memory::{Descriptor, MapConfig, MemoryMap, MemoryType, PAGE_SIZE};

/// RAM that is in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InUse {
    /// The memory. Pages that are in use in part are in use.
    pub range: GuestRange,
    /// What for: [`MemoryType::RUNTIME_SERVICES_CODE`] for the code of the firmware and so on.
    pub kind: MemoryType,
}

impl InUse {
    /// This memory for this use.
    #[must_use]
    pub const fn new(range: GuestRange, kind: MemoryType) -> Self {
        Self { range, kind }
    }
}

/// The whole pages in a range; `None` if there are none.
fn pages_in(range: GuestRange) -> Option<GuestRange> {
    let start = range.start().checked_next_multiple_of(PAGE_SIZE)?;
    let end = range.end() & !(PAGE_SIZE - 1);
    GuestRange::from_bounds(start, end).filter(|range| !range.is_empty())
}

/// The type of a region that is not RAM, or is.
fn kind_of(kind: RegionKind) -> MemoryType {
    match kind {
        RegionKind::Ram => MemoryType::CONVENTIONAL,
        RegionKind::AcpiReclaimable => MemoryType::ACPI_RECLAIM,
        RegionKind::AcpiNvs => MemoryType::ACPI_NVS,
        RegionKind::Unusable => MemoryType::UNUSABLE,
        RegionKind::Persistent => MemoryType::PERSISTENT,
        _ => MemoryType::RESERVED,
    }
}

/// The memory map of a machine: its RAM in whole pages, its other regions, and the parts of the RAM that are in use. Where these
/// overlap, the first counts; what of them is not RAM is ignored.
///
/// # Errors
///
/// `OUT_OF_RESOURCES` if the map has too many regions.
pub fn map_of(machine: &MachineMap, in_use: &[InUse], config: MapConfig) -> Result<MemoryMap> {
    let mut map = MemoryMap::new(config);
    let mut end = 0;
    for region in machine.regions() {
        // A page that is RAM in part is not used; one that is reserved in part is reserved.
        let pages = match region.kind {
            RegionKind::Ram => pages_in(region.range),
            _ => region
                .range
                .aligned_out(PAGE_SIZE)
                .and_then(|range| GuestRange::from_bounds(range.start().max(end), range.end())),
        };
        let Some(pages) = pages.filter(|pages| !pages.is_empty()) else {
            continue;
        };
        end = pages.end();
        let count = pages.len() / PAGE_SIZE;
        map.add(&Descriptor::ram(kind_of(region.kind), pages.start(), count))?;
    }
    for part in in_use {
        let Some(pages) = part.range.aligned_out(PAGE_SIZE) else {
            continue;
        };
        let free: Vec<_> = map
            .descriptors()
            .filter(|region| region.kind == MemoryType::CONVENTIONAL)
            .filter_map(|region| GuestRange::new(region.start, region.len())?.intersection(pages))
            .collect();
        for range in free.into_iter().filter(|range| !range.is_empty()) {
            map.reserve(range.start(), range.len() / PAGE_SIZE, part.kind)?;
        }
    }
    Ok(map)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(start: u64, end: u64) -> GuestRange {
        GuestRange::from_bounds(start, end).unwrap()
    }

    fn check(
        regions: &[(u64, u64, RegionKind)],
        in_use: &[(u64, u64, MemoryType)],
        expected: &[(u32, u64, u64)],
    ) {
        let mut machine = MachineMap::new();
        for (start, end, kind) in regions {
            machine.insert(range(*start, *end), *kind).unwrap();
        }
        let in_use: Vec<_> = in_use
            .iter()
            .map(|(start, end, kind)| InUse::new(range(*start, *end), *kind))
            .collect();
        let map = map_of(&machine, &in_use, MapConfig::default()).unwrap();
        let found: Vec<_> = map
            .descriptors()
            .map(|region| (region.kind.0, region.start, region.start + region.len()))
            .collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn pages_that_are_ram_in_part_are_not_free() {
        check(
            &[
                (0, 0x9_fc00, RegionKind::Ram),
                (0x9_fc00, 0xa_0000, RegionKind::Reserved),
                (0x10_0000, 0x20_0800, RegionKind::Ram),
                (0x20_0800, 0x20_0900, RegionKind::AcpiNvs),
                (0x20_0900, 0x20_2100, RegionKind::AcpiReclaimable),
            ],
            &[],
            &[
                (7, 0, 0x9_f000),
                (0, 0x9_f000, 0xa_0000),
                (7, 0x10_0000, 0x20_0000),
                (10, 0x20_0000, 0x20_1000),
                (9, 0x20_1000, 0x20_3000),
            ],
        );
    }

    #[test]
    fn memory_in_use_has_its_type() {
        let (code, data) = (MemoryType::RUNTIME_SERVICES_CODE, MemoryType::BOOT_SERVICES_DATA);
        check(
            &[
                (0x10_0000, 0x20_0000, RegionKind::Ram),
                (0x20_0000, 0x30_0000, RegionKind::Reserved),
            ],
            &[
                (0x11_0000, 0x11_1000, code),
                (0x11_0800, 0x11_2001, data),
                (0x1f_ffff, 0x20_1000, data),
                (0x50_0000, 0x50_1000, data),
            ],
            &[
                (7, 0x10_0000, 0x11_0000),
                (5, 0x11_0000, 0x11_1000),
                (4, 0x11_1000, 0x11_3000),
                (7, 0x11_3000, 0x1f_f000),
                (4, 0x1f_f000, 0x20_0000),
                (0, 0x20_0000, 0x30_0000),
            ],
        );
    }
}
