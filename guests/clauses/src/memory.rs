//! The memory map, and whether its RAM is there.

use contract::{Memory, MemoryRange};

use crate::memory_map::{RAM, first_disorder, is_ram, overlap};
use crate::report;

/// Entries that a [`Map`] can hold: the zero page's 128 and many times more from the extension.
pub const MAX_ENTRIES: usize = 1024;

/// The memory map as the loader handed it over.
pub struct Map {
    entries: [MemoryRange; MAX_ENTRIES],
    len: usize,
    /// Entries that found no room.
    lost: u64,
}

impl Map {
    #[expect(clippy::large_stack_arrays, reason = "the content of a static")]
    /// No entries.
    pub const EMPTY: Self = Self {
        entries: [MemoryRange {
            start: 0,
            end: 0,
            kind: 0,
        }; MAX_ENTRIES],
        len: 0,
        lost: 0,
    };

    /// Appends an entry; a size that wraps makes it end before its start, which [`check()`] reports.
    pub fn push(&mut self, start: u64, size: u64, kind: u32) {
        match self.entries.get_mut(self.len) {
            None => self.lost += 1,
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

    /// The entries that found room.
    #[must_use]
    pub fn entries(&self) -> &[MemoryRange] {
        self.entries.get(..self.len).unwrap_or_default()
    }
}

/// How a program reaches physical memory.
pub trait Physical {
    /// The first address past what the CPU can address.
    fn limit(&self) -> u64;

    /// The eight bytes from `address` on, which is a multiple of eight; what they mean is the program's.
    fn read_u64(&mut self, address: u64) -> u64;

    /// Stores eight bytes, as [`read_u64`](Self::read_u64) reads them; answers whether the CPU can address them.
    fn write_u64(&mut self, address: u64, value: u64) -> bool;
}

/// Something that occupies memory: name, first address, address past the last.
pub type Occupant = (&'static str, u64, u64);

/// Checks the map and what stands in the memory it describes. Whether RAM is there is not tried in `untouchable` ranges:
/// the program itself, and what belongs to others.
pub fn check(
    map: &Map,
    asked: Option<Memory<'_>>,
    occupants: impl Iterator<Item = Occupant> + Clone,
    untouchable: &[(u64, u64)],
    phys: &mut impl Physical,
) {
    let entries = map.entries();
    report::equal("memory.entries-too-many", map.lost, 0);
    let disorder = first_disorder(entries);
    check!(
        "memory.sorted",
        disorder.is_none(),
        "entry {} at {:#x}",
        disorder.unwrap_or(0),
        disorder.and_then(|index| entries.get(index)).map_or(0, |range| range.start);
        "entries that are not empty, rise and do not overlap"
    );
    agreed(entries, asked);
    let occupants = occupants.filter(|(_, start, end)| start != end);
    for (index, (name, start, end)) in occupants.clone().enumerate() {
        check!(
            format_args!("place.{name}"),
            is_ram(entries, start, end),
            "{start:#x}-{end:#x}";
            "a place in RAM"
        );
        let other = occupants
            .clone()
            .skip(index + 1)
            .find(|other| overlap((start, end), (other.1, other.2)));
        check!(
            format_args!("place.{name}.alone"),
            other.is_none(),
            "{start:#x}-{end:#x} shared with {} at {:#x}-{:#x}",
            other.map_or("", |it| it.0),
            other.map_or(0, |it| it.1),
            other.map_or(0, |it| it.2);
            "memory of its own"
        );
    }
    if disorder.is_none() {
        writable(entries, untouchable, phys);
    }
}

fn agreed(entries: &[MemoryRange], asked: Option<Memory<'_>>) {
    let Some(asked) = asked else {
        for (index, range) in entries.iter().enumerate() {
            note!(format_args!("memory.map.{index}"), "{range}");
        }
        return;
    };
    let Some(mut asked_ranges) = asked.ranges() else {
        let found = Memory::digest_of(entries);
        let Memory::Digest { count, hash } = asked else {
            return;
        };
        let same = matches!(found, Memory::Digest { count: c, hash: h } if (c, h) == (count, hash));
        check!("memory.map", same, "{found}"; "{asked}");
        return;
    };
    let mut found = entries.iter();
    let mut index = 0_u32;
    loop {
        match (found.next(), asked_ranges.next()) {
            (None, None) => break,
            (Some(range), Some(asked)) if *range == asked => {}
            (Some(range), Some(asked)) => return fail!("memory.map", "entry {index} {range}"; "{asked}"),
            (Some(range), None) => return fail!("memory.map", "entry {index} {range}"; "no such entry"),
            (None, Some(asked)) => return fail!("memory.map", "no entry {index}"; "{asked}"),
        }
        index += 1;
    }
    report::ok("memory.map");
}

/// Sizes of the steps in which a RAM range is tried, besides its first and its last eight bytes.
const STEP: u64 = 16 << 20;

/// Checks that RAM is there and that no two places of it are the same: every place gets a number of its own, all are
/// read back, and get back what they held.
fn writable(entries: &[MemoryRange], untouchable: &[(u64, u64)], phys: &mut impl Physical) {
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
            if !inside || untouchable.iter().any(|taken| overlap(*taken, (at, at + 8))) {
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
        "RAM below {:#x}, the most this CPU can address", phys.limit());
    let places = places.get(..used).unwrap_or_default();
    // Not the address itself: RAM that answers with what was on its address lines would pass.
    let number = |at: u64| (at | 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    for (at, _) in places {
        phys.write_u64(*at, number(*at));
    }
    let bad = places.iter().find_map(|(at, _)| {
        let found = phys.read_u64(*at);
        (found != number(*at)).then_some((*at, found))
    });
    // The same place can be there twice when a range is small; each holds what it held first.
    for (at, old) in places.iter().rev() {
        phys.write_u64(*at, *old);
    }
    check!(
        "memory.writable",
        bad.is_none(),
        "{:#x} at {:#x}",
        bad.map_or(0, |it| it.1),
        bad.map_or(0, |it| it.0);
        "{:#x}, as written, in each of {used} places",
        bad.map_or(0, |it| number(it.0))
    );
    check!("memory.some-ram", used > 0, "{used} places to write to"; "RAM beside the image");
}
