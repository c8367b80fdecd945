//! The guest physical ranges that have host memory, and their division into mappings.

use boot_core::{GuestRange, MemoryMap, RegionKind, arith};

use crate::RamError;
use crate::huge_pages::HUGE_PAGE;

/// Whether a region of this kind is backed by host memory.
fn is_backed(kind: RegionKind) -> bool {
    match kind {
        // ACPI tables are written to ordinary memory.
        RegionKind::Ram | RegionKind::AcpiReclaimable | RegionKind::AcpiNvs => true,
        // Devices, firmware, memory with errors, and persistent memory, which is backed by a file.
        _ => false,
    }
}

/// The ranges to map, sorted: the backed regions, extended to pages of `page` bytes, with adjacent regions joined.
pub(crate) fn backed(map: &MemoryMap, page: u64) -> Result<Vec<GuestRange>, RamError> {
    let mut ranges: Vec<GuestRange> = Vec::new();
    for region in map.regions().iter().filter(|region| is_backed(region.kind)) {
        let range = region
            .range
            .aligned_out(page)
            .ok_or(RamError::TooLarge(region.range))?;
        match ranges.last_mut() {
            Some(last) if range.start() <= last.end() => *last = last.span(range),
            _ => ranges.push(range),
        }
    }
    if ranges.is_empty() {
        return Err(RamError::NoRam);
    }
    Ok(ranges)
}

/// Splits a range at its first and its last boundary of huge pages.
///
/// The mapping in the middle consists of whole huge pages, which Linux backs best: since 6.7 it aligns an anonymous mapping whose
/// length is a multiple of 2 MiB. The high RAM of a PC starts at 1 MiB.
pub(crate) fn split_at_huge_pages(range: GuestRange) -> impl Iterator<Item = GuestRange> {
    let first = arith::align_up(range.start(), HUGE_PAGE);
    let last = arith::align_down(range.end(), HUGE_PAGE);
    let bounds = match first {
        Some(first) if first < last => [range.start(), first, last, range.end()],
        _ => [range.start(), range.end(), range.end(), range.end()],
    };
    let pieces = [(0, 1), (1, 2), (2, 3)].map(|(from, to)| GuestRange::from_bounds(bounds[from], bounds[to]));
    pieces.into_iter().flatten().filter(|piece| !piece.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(start: u64, end: u64) -> GuestRange {
        GuestRange::from_bounds(start, end).unwrap()
    }

    #[test]
    fn backed_ranges_are_pages_and_neighbours_are_joined() {
        use RegionKind::{AcpiNvs, AcpiReclaimable, Persistent, Ram, Reserved, Unusable};
        let check = |regions: &[(u64, u64, RegionKind)], expected: &[(u64, u64)]| {
            let mut map = MemoryMap::new();
            for &(start, end, kind) in regions {
                map.insert(range(start, end), kind).unwrap();
            }
            let found = backed(&map, 0x1000).unwrap();
            let found: Vec<_> = found.iter().map(|range| (range.start(), range.end())).collect();
            assert_eq!(found, expected, "{regions:x?}");
        };
        check(&[(0x1000, 0x3000, Ram)], &[(0x1000, 0x3000)]);
        // An EBDA below 640 KiB shares its first page with RAM.
        check(
            &[
                (0, 0x9_fc00, Ram),
                (0x9_fc00, 0xa_0000, Reserved),
                (0x10_0000, 0x20_0000, Ram),
            ],
            &[(0, 0xa_0000), (0x10_0000, 0x20_0000)],
        );
        check(
            &[
                (0, 0x1800, Ram),
                (0x1800, 0x2000, AcpiReclaimable),
                (0x2000, 0x3000, AcpiNvs),
                (0x3000, 0x4000, Ram),
            ],
            &[(0, 0x4000)],
        );
        // Two regions whose pages overlap although they do not.
        check(&[(0, 0x10, Ram), (0x20, 0x30, Ram)], &[(0, 0x1000)]);
        check(
            &[
                (0, 0x1000, Unusable),
                (0x1000, 0x2000, Persistent),
                (0x2000, 0x3000, Ram),
            ],
            &[(0x2000, 0x3000)],
        );
    }

    #[test]
    fn a_map_without_ram_or_past_the_last_page_is_refused() {
        assert!(matches!(backed(&MemoryMap::new(), 0x1000), Err(RamError::NoRam)));
        let mut map = MemoryMap::new();
        map.insert(range(0, 0x1000), RegionKind::Reserved).unwrap();
        assert!(matches!(backed(&map, 0x1000), Err(RamError::NoRam)));
        map.insert(range(u64::MAX - 1, u64::MAX), RegionKind::Ram)
            .unwrap();
        assert!(matches!(backed(&map, 0x1000), Err(RamError::TooLarge(_))));
    }

    #[test]
    fn splitting_keeps_every_byte_and_aligns_the_middle() {
        let check = |start, end, expected: &[(u64, u64)]| {
            let found: Vec<_> = split_at_huge_pages(range(start, end))
                .map(|piece| (piece.start(), piece.end()))
                .collect();
            assert_eq!(found, expected);
        };
        check(0, 0xa_0000, &[(0, 0xa_0000)]);
        check(0x10_0000, 0x20_0000, &[(0x10_0000, 0x20_0000)]);
        check(0x10_0000, 0x30_0000, &[(0x10_0000, 0x30_0000)]);
        check(
            0x10_0000,
            0xc000_0000,
            &[(0x10_0000, 0x20_0000), (0x20_0000, 0xc000_0000)],
        );
        check(0, 0x40_0000, &[(0, 0x40_0000)]);
        check(
            0x1f_f000,
            0x40_1000,
            &[
                (0x1f_f000, 0x20_0000),
                (0x20_0000, 0x40_0000),
                (0x40_0000, 0x40_1000),
            ],
        );
        check(
            u64::MAX - 0x1fff,
            u64::MAX - 0xfff,
            &[(u64::MAX - 0x1fff, u64::MAX - 0xfff)],
        );
    }
}
