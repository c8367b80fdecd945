//! Queries on memory maps.

use contract::MemoryRange;

/// Address range type of RAM (ACPI specification, section 15).
pub const RAM: u32 = 1;

/// Index of the first entry that is empty, wraps, or starts below the end of the previous one.
#[must_use]
pub fn first_unsorted(map: &[MemoryRange]) -> Option<usize> {
    let mut end = 0;
    for (index, range) in map.iter().enumerate() {
        if range.start >= range.end || range.start < end {
            return Some(index);
        }
        end = range.end;
    }
    None
}

/// Whether every byte of `start..end` is in a RAM entry; adjacent entries count as one. For an empty range, whether `start` is in
/// a RAM entry.
#[must_use]
pub fn is_ram(map: &[MemoryRange], start: u64, end: u64) -> bool {
    let mut at = start;
    loop {
        let holder = map
            .iter()
            .find(|range| range.kind == RAM && range.start <= at && at < range.end);
        match holder {
            None => return false,
            Some(range) if range.end >= end => return start <= end,
            Some(range) => at = range.end,
        }
    }
}

/// Whether two ranges share a byte.
#[must_use]
pub fn overlap(one: (u64, u64), other: (u64, u64)) -> bool {
    one.0.max(other.0) < one.1.min(other.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn range(start: u64, end: u64, kind: u32) -> MemoryRange {
        MemoryRange { start, end, kind }
    }

    #[test]
    fn unsorted_entries_are_found() {
        for (map, expected) in [
            (&[][..], None),
            (&[range(0, 1, 1), range(1, 2, 1), range(9, 10, 2)], None),
            (&[range(0, 0, 1)], Some(0)),
            (&[range(5, 4, 1)], Some(0)),
            (&[range(0, 2, 1), range(1, 3, 1)], Some(1)),
            (&[range(4, 5, 1), range(0, 1, 1)], Some(1)),
            (&[range(0, 1, 1), range(2, 3, 1), range(2, 3, 2)], Some(2)),
        ] {
            assert_eq!(first_unsorted(map), expected, "{map:?}");
        }
    }

    #[test]
    fn ram_is_found_across_adjacent_entries_only() {
        let map = [
            range(0, 10, 1),
            range(10, 20, 1),
            range(20, 30, 2),
            range(40, 50, 1),
        ];
        for (start, end, expected) in [
            (0, 10, true),
            (0, 20, true),
            (5, 15, true),
            (19, 21, false),
            (20, 21, false),
            (30, 31, false),
            (39, 41, false),
            (40, 50, true),
            (40, 51, false),
            (7, 7, true),
            (25, 25, false),
            (9, 3, false),
        ] {
            assert_eq!(is_ram(&map, start, end), expected, "{start}..{end}");
        }
    }

    #[test]
    fn touching_ranges_do_not_overlap() {
        assert!(!overlap((0, 10), (10, 20)));
        assert!(overlap((0, 11), (10, 20)));
        assert!(overlap((12, 13), (10, 20)));
        assert!(!overlap((12, 12), (10, 20)));
    }
}
