//! Placement: one allocator for everything that goes into guest memory.
//!
//! A planner first reserves what cannot move and then allocates the rest. The allocator only ever hands out RAM that
//! nobody has taken, so what it gives cannot overlap.

mod kernel;

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::fmt;

pub(crate) use kernel::KERNEL_LABEL;
pub use kernel::PlacedKernel;

use crate::{GuestRange, MemoryMap, num};

/// Which end of the free memory to take from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Direction {
    /// The lowest address that fits.
    #[default]
    Lowest,
    /// The highest address that fits.
    Highest,
}

/// What an allocation asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Request {
    /// What it is for, as errors name it.
    pub label: &'static str,
    /// The size in bytes; not zero.
    pub len: u64,
    /// The alignment of the start: a power of two.
    pub align: u64,
    /// The remainder that the start leaves modulo `align`: below `align`, usually zero.
    pub align_offset: u64,
    /// The lowest address allowed.
    pub min: u64,
    /// The address that the allocation may end at, at the highest: exclusive.
    pub max: u64,
    /// Which end to take from.
    pub direction: Direction,
}

impl Request {
    /// `len` bytes at any page, from the lowest.
    #[must_use]
    pub const fn pages(label: &'static str, len: u64) -> Self {
        Self {
            label,
            len,
            align: 0x1000,
            align_offset: 0,
            min: 0,
            max: u64::MAX,
            direction: Direction::Lowest,
        }
    }

    /// The same, between `min` and `max` (exclusive).
    #[must_use]
    pub const fn between(self, min: u64, max: u64) -> Self {
        Self { min, max, ..self }
    }

    /// The same, from the highest address down.
    #[must_use]
    pub const fn highest(self) -> Self {
        Self {
            direction: Direction::Highest,
            ..self
        }
    }

    /// The same, aligned to `align`.
    #[must_use]
    pub const fn aligned(self, align: u64) -> Self {
        Self { align, ..self }
    }
}

/// Something that could not be placed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PlacementError {
    /// A fixed range is not RAM.
    NotRam {
        /// What it is.
        label: &'static str,
        /// Where it would have to go.
        range: GuestRange,
    },
    /// A fixed range is taken.
    Taken {
        /// What it is.
        label: &'static str,
        /// Where it would have to go.
        range: GuestRange,
        /// What is there.
        by: &'static str,
        /// Where that is.
        at: GuestRange,
    },
    /// A fixed range is higher than its protocol can reach.
    TooHigh {
        /// What it is.
        label: &'static str,
        /// Where it would have to go.
        range: GuestRange,
        /// The address it would have to end at, at the highest: exclusive.
        max: u64,
    },
    /// No free range meets the request.
    NoRoom(Request),
    /// A request for nothing, or with an alignment that is no power of two or not above its remainder.
    BadRequest(Request),
}

impl fmt::Display for PlacementError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotRam { label, range } => {
                write!(
                    f,
                    "the {label} must be at {range}, but the machine has no RAM there; give it more memory"
                )
            }
            Self::Taken { label, range, by, at } => {
                write!(f, "the {label} must be at {range}, but the {by} is at {at}")
            }
            Self::TooHigh { label, range, max } => {
                write!(
                    f,
                    "the {label} must be at {range}, but it can only be started below {max:#x}"
                )
            }
            Self::NoRoom(Request {
                label,
                len,
                align,
                align_offset,
                min,
                max,
                ..
            }) => {
                write!(f, "no free RAM for the {label}: it needs {len:#x} bytes")?;
                if *align > 1 {
                    write!(f, " aligned to {align:#x}")?;
                }
                if *align_offset > 0 {
                    write!(f, " plus {align_offset:#x}")?;
                }
                if *min > 0 {
                    write!(f, " from {min:#x} up")?;
                }
                if *max < u64::MAX {
                    write!(f, " below {max:#x}")?;
                }
                Ok(())
            }
            Self::BadRequest(Request {
                label,
                len,
                align,
                align_offset,
                ..
            }) => write!(
                f,
                "a range of {len:#x} bytes for the {label} with alignment {align:#x} and remainder {align_offset:#x} makes no sense"
            ),
        }
    }
}

impl core::error::Error for PlacementError {}

/// The allocator over one machine's RAM.
#[derive(Clone, Debug)]
pub struct Placer<'a> {
    map: &'a MemoryMap,
    /// What is taken, by its start: ranges that are not empty and do not overlap. A hostile image can have more than a
    /// hundred thousand segments, and taking one must not cost time for all the others.
    taken: BTreeMap<u64, (GuestRange, &'static str)>,
}

impl<'a> Placer<'a> {
    /// An allocator over the RAM of `map`, none of it taken.
    #[must_use]
    pub const fn new(map: &'a MemoryMap) -> Self {
        Self {
            map,
            taken: BTreeMap::new(),
        }
    }

    /// The map it allocates from.
    #[must_use]
    pub const fn map(&self) -> &'a MemoryMap {
        self.map
    }

    /// Takes exactly `range`. An empty range takes nothing.
    ///
    /// # Errors
    ///
    /// [`PlacementError::NotRam`] or [`PlacementError::Taken`].
    pub fn reserve(&mut self, label: &'static str, range: GuestRange) -> Result<(), PlacementError> {
        if range.is_empty() {
            return Ok(());
        }
        if !self.map.is_ram(range) {
            return Err(PlacementError::NotRam { label, range });
        }
        self.avoid(label, range)
    }

    /// Takes `range` whether it is RAM or not, so that nothing else goes there. An empty range takes nothing.
    ///
    /// # Errors
    ///
    /// [`PlacementError::Taken`].
    pub fn avoid(&mut self, label: &'static str, range: GuestRange) -> Result<(), PlacementError> {
        if range.is_empty() {
            return Ok(());
        }
        if let Some((at, by)) = self.taken_in(range).next() {
            return Err(PlacementError::Taken { label, range, by, at });
        }
        self.taken.insert(range.start(), (range, label));
        Ok(())
    }

    /// What is taken of `range`, sorted by address.
    fn taken_in(&self, range: GuestRange) -> impl Iterator<Item = (GuestRange, &'static str)> + '_ {
        let before = self.taken.range(..range.start()).next_back();
        let inside = self.taken.range(range.start()..range.end());
        before
            .into_iter()
            .chain(inside)
            .map(|(_, taken)| *taken)
            .filter(move |(taken, _)| taken.overlaps(range))
    }

    /// Finds and takes a free range.
    ///
    /// # Errors
    ///
    /// [`PlacementError::NoRoom`], or [`PlacementError::BadRequest`] for a request that no range could meet.
    pub fn allocate(&mut self, request: &Request) -> Result<GuestRange, PlacementError> {
        if request.len == 0 || !request.align.is_power_of_two() || request.align_offset >= request.align {
            return Err(PlacementError::BadRequest(*request));
        }
        let fit = |gap: GuestRange| fit_in(gap, request);
        let gaps = self.gaps();
        let found = match request.direction {
            Direction::Lowest => gaps.into_iter().find_map(fit),
            Direction::Highest => gaps.into_iter().rev().find_map(fit),
        };
        let range = found.ok_or(PlacementError::NoRoom(*request))?;
        self.reserve(request.label, range)?;
        Ok(range)
    }

    /// The free RAM, sorted by address.
    fn gaps(&self) -> Vec<GuestRange> {
        let mut gaps = Vec::new();
        for ram in self.map.ram() {
            let mut start = ram.start();
            for (taken, _) in self.taken_in(ram) {
                gaps.extend(GuestRange::from_bounds(start, taken.start()));
                start = taken.end();
            }
            gaps.extend(GuestRange::from_bounds(start, ram.end()));
        }
        gaps
    }
}

/// The place in `gap` that `request` asks for.
fn fit_in(gap: GuestRange, request: &Request) -> Option<GuestRange> {
    let window = GuestRange::from_bounds(gap.start().max(request.min), gap.end().min(request.max))?;
    let start = match request.direction {
        Direction::Lowest => lowest_congruent(window.start(), request.align, request.align_offset)?,
        Direction::Highest => {
            let last = window
                .end()
                .checked_sub(request.len)?
                .checked_sub(request.align_offset)?;
            num::align_down(last, request.align).checked_add(request.align_offset)?
        }
    };
    GuestRange::new(start, request.len).filter(|range| window.contains(*range))
}

/// The lowest address from `min` on that leaves `offset` modulo `align`, if there is one.
pub(crate) fn lowest_congruent(min: u64, align: u64, offset: u64) -> Option<u64> {
    num::align_up(min.saturating_sub(offset), align)?.checked_add(offset)
}

#[cfg(test)]
mod tests {
    use std::string::ToString;

    use super::*;
    use crate::RegionKind;

    fn range(start: u64, end: u64) -> GuestRange {
        GuestRange::from_bounds(start, end).unwrap()
    }

    fn map() -> MemoryMap {
        let mut map = MemoryMap::new();
        map.insert(range(0x1000, 0x9000), RegionKind::Ram).unwrap();
        map.insert(range(0x9000, 0xa000), RegionKind::Reserved).unwrap();
        map.insert(range(0x10_0000, 0x20_0000), RegionKind::Ram).unwrap();
        map
    }

    #[test]
    fn allocation_respects_limits_alignment_and_direction() {
        let map = map();
        let check = |request: Request, expected: Option<u64>| {
            let mut placer = Placer::new(&map);
            placer.reserve("kernel", range(0x11_0000, 0x18_0000)).unwrap();
            let found = placer.allocate(&request).ok();
            assert_eq!(found.map(GuestRange::start), expected, "{request:?}");
        };
        let page = Request::pages("page", 0x1000);
        check(page, Some(0x1000));
        check(page.highest(), Some(0x1f_f000));
        check(page.between(0x2800, u64::MAX), Some(0x3000));
        check(page.between(0, 0x9000).highest(), Some(0x8000));
        check(page.between(0, 0x1fff), None);
        check(Request { len: 0x9000, ..page }, Some(0x10_0000));
        check(
            Request {
                len: 0x2_0000,
                ..page
            },
            Some(0x18_0000),
        );
        check(
            Request {
                len: 0x8_0001,
                ..page
            },
            None,
        );
        check(
            Request {
                align: 0x1_0000,
                align_offset: 0x3000,
                ..page
            },
            Some(0x3000),
        );
        check(
            Request {
                align: 0x1_0000,
                align_offset: 0x3000,
                min: 0x3001,
                ..page
            },
            Some(0x10_3000),
        );
        check(
            Request {
                align: 0x1_0000,
                align_offset: 0x3000,
                direction: Direction::Highest,
                ..page
            },
            Some(0x1f_3000),
        );
        check(
            Request {
                len: u64::MAX,
                ..page
            },
            None,
        );
        for bad in [
            Request { len: 0, ..page },
            Request { align: 0, ..page },
            Request { align: 3, ..page },
            Request {
                align: 2,
                align_offset: 2,
                ..page
            },
        ] {
            check(bad, None);
        }
    }

    #[test]
    fn reservations_conflict_by_name() {
        let map = map();
        let mut placer = Placer::new(&map);
        placer.reserve("kernel", range(0x11_0000, 0x18_0000)).unwrap();
        placer.reserve("left", range(0x10_0000, 0x11_0000)).unwrap();
        placer.reserve("right", range(0x18_0000, 0x18_1000)).unwrap();
        let error = placer.reserve("initrd", range(0x17_ffff, 0x18_0000)).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the initrd must be at 0x17ffff..0x180000, but the kernel is at 0x110000..0x180000"
        );
        let error = placer.reserve("table", range(0x8000, 0x9001)).unwrap_err();
        assert!(matches!(error, PlacementError::NotRam { label: "table", .. }));
        placer.avoid("device", range(0x8000, 0xb000)).unwrap();
        let error = placer.reserve("table", range(0x8000, 0x8001)).unwrap_err();
        assert!(matches!(error, PlacementError::Taken { by: "device", .. }));
    }
}
