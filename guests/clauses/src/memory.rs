//! Clauses about the memory map and the RAM that it lists.

use contract::{Memory, MemoryRange};

use crate::memory_map::{RAM, first_unsorted, is_ram, overlap};
use crate::report;

/// Maximum number of entries in a [`MemoryMap`]: the 128 of the zero page and more from e820 extensions.
pub const MAX_ENTRIES: usize = 1024;

/// The memory map from the loader.
pub struct MemoryMap {
    entries: [MemoryRange; MAX_ENTRIES],
    len: usize,
    /// Number of entries after the first [`MAX_ENTRIES`].
    dropped: u64,
}

impl MemoryMap {
    /// An empty map.
    #[expect(clippy::large_stack_arrays, reason = "the content of a static")]
    pub const EMPTY: Self = Self {
        entries: [MemoryRange {
            start: 0,
            end: 0,
            kind: 0,
        }; MAX_ENTRIES],
        len: 0,
        dropped: 0,
    };

    /// Appends an entry. If `start + size` wraps, the entry ends before its start, which [`check()`] reports.
    pub fn push(&mut self, start: u64, size: u64, kind: u32) {
        match self.entries.get_mut(self.len) {
            None => self.dropped += 1,
            Some(entry) => {
                *entry = MemoryRange {
                    start,
                    end: start.wrapping_add(size),
                    kind,
                };
                self.len += 1;
            }
        }
    }

    /// The first [`MAX_ENTRIES`] entries.
    #[must_use]
    pub fn entries(&self) -> &[MemoryRange] {
        self.entries.get(..self.len).unwrap_or_default()
    }
}

/// Access to physical memory.
pub trait PhysicalMemory {
    /// End of the physical address space of the CPU, exclusive.
    fn limit(&self) -> u64;

    /// Reads eight bytes at `address`, a multiple of eight, in the byte order of the program.
    fn read_u64(&mut self, address: u64) -> u64;

    /// Writes eight bytes for [`read_u64`](Self::read_u64). Returns whether the CPU can address them.
    fn write_u64(&mut self, address: u64, value: u64) -> bool;
}

/// A range of memory in use: name, start and end (exclusive).
pub type NamedRange = (&'static str, u64, u64);

/// Checks the map, the ranges in use, and the RAM outside the `excluded` ranges, which are the program itself and reserved
/// memory.
pub fn check(
    map: &MemoryMap,
    expected: Option<Memory<'_>>,
    occupied: impl Iterator<Item = NamedRange> + Clone,
    excluded: &[(u64, u64)],
    phys: &mut impl PhysicalMemory,
) {
    let entries = map.entries();
    report::check_equal("memory.entries-too-many", map.dropped, 0);
    let unsorted = first_unsorted(entries);
    check!(
        "memory.sorted",
        unsorted.is_none(),
        "entry {} at {:#x}",
        unsorted.unwrap_or(0),
        unsorted.and_then(|index| entries.get(index)).map_or(0, |range| range.start);
        "nonempty entries in ascending order that do not overlap"
    );
    check_map(entries, expected);
    let occupied = occupied.filter(|(_, start, end)| start != end);
    for (index, (name, start, end)) in occupied.clone().enumerate() {
        check!(
            format_args!("place.{name}"),
            is_ram(entries, start, end),
            "{start:#x}-{end:#x}";
            "a range in RAM"
        );
        let other = occupied
            .clone()
            .skip(index + 1)
            .find(|other| overlap((start, end), (other.1, other.2)));
        check!(
            format_args!("place.{name}.disjoint"),
            other.is_none(),
            "{start:#x}-{end:#x} overlaps {} at {:#x}-{:#x}",
            other.map_or("", |it| it.0),
            other.map_or(0, |it| it.1),
            other.map_or(0, |it| it.2);
            "no overlap"
        );
    }
    if unsorted.is_none() {
        check_ram(entries, excluded, phys);
    }
}

fn check_map(entries: &[MemoryRange], expected: Option<Memory<'_>>) {
    let Some(expected) = expected else {
        for (index, range) in entries.iter().enumerate() {
            note!(format_args!("memory.map.{index}"), "{range}");
        }
        return;
    };
    let Some(mut expected_ranges) = expected.ranges() else {
        let found = Memory::digest_of(entries);
        let Memory::Digest { count, hash } = expected else {
            return;
        };
        let same = matches!(found, Memory::Digest { count: c, hash: h } if (c, h) == (count, hash));
        check!("memory.map", same, "{found}"; "{expected}");
        return;
    };
    let mut found = entries.iter();
    let mut index = 0_u32;
    loop {
        match (found.next(), expected_ranges.next()) {
            (None, None) => break,
            (Some(range), Some(expected)) if *range == expected => {}
            (Some(range), Some(expected)) => {
                return fail!("memory.map", "entry {index} {range}"; "{expected}");
            }
            (Some(range), None) => return fail!("memory.map", "entry {index} {range}"; "no such entry"),
            (None, Some(expected)) => return fail!("memory.map", "no entry {index}"; "{expected}"),
        }
        index += 1;
    }
    report::ok("memory.map");
}

/// Distance in bytes between the tested words of a RAM range. Its first and its last eight bytes are tested too.
const STEP: u64 = 16 << 20;

/// Checks that RAM is readable and writable and that no two addresses alias: writes a different value to each tested address,
/// reads all of them back, and restores the content.
fn check_ram(entries: &[MemoryRange], excluded: &[(u64, u64)], phys: &mut impl PhysicalMemory) {
    const PLACES: usize = 1024;
    let mut places = [(0_u64, 0_u64); PLACES];
    let mut used = 0;
    let mut unreachable = None;
    for range in entries.iter().filter(|range| range.kind == RAM) {
        let last = range.end - 8.min(range.end - range.start);
        let inner = core::iter::successors(range.start.checked_add(STEP), |at| at.checked_add(STEP))
            .take_while(|at| *at < last)
            .map(|at| at & !7);
        let edges = [range.start.next_multiple_of(8), last & !7];
        for at in edges.into_iter().chain(inner) {
            let inside = range.start <= at && range.end - at.min(range.end) >= 8;
            if !inside || excluded.iter().any(|taken| overlap(*taken, (at, at + 8))) {
                continue;
            }
            if at + 8 > phys.limit() {
                unreachable = unreachable.or(Some(at));
            } else if let Some(place) = places.get_mut(used) {
                *place = (at, phys.read_u64(at));
                used += 1;
            }
        }
    }
    check!("memory.reachable", unreachable.is_none(), "RAM at {:#x}", unreachable.unwrap_or(0);
        "RAM below {:#x}, the end of the physical address space", phys.limit());
    let places = places.get(..used).unwrap_or_default();
    // Not the address itself: a bus that returns the last address would pass.
    let pattern = |at: u64| (at | 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    for (at, _) in places {
        phys.write_u64(*at, pattern(*at));
    }
    let bad = places.iter().find_map(|(at, _)| {
        let found = phys.read_u64(*at);
        (found != pattern(*at)).then_some((*at, found))
    });
    // A small range can list an address twice: the first saved content is restored last.
    for (at, old) in places.iter().rev() {
        phys.write_u64(*at, *old);
    }
    check!(
        "memory.writable",
        bad.is_none(),
        "{:#x} at {:#x}",
        bad.map_or(0, |it| it.1),
        bad.map_or(0, |it| it.0);
        "{:#x} as written; {used} addresses tested",
        bad.map_or(0, |it| pattern(it.0))
    );
    check!("memory.some-ram", used > 0, "{used} addresses to test"; "RAM outside the image");
}
