//! Placement of kernel, initrd and protocol structures in guest memory.
//!
//! A protocol reserves fixed ranges in a [`RamAllocator`] first and then allocates the others. All of them are RAM and
//! do not overlap.

mod additional;
mod error;
mod kernel;

use alloc::vec::Vec;

pub use additional::PlacedAdditional;
pub use error::{Obstacle, PlacementError};
pub(crate) use kernel::KERNEL_LABEL;
pub use kernel::PlacedKernel;

use crate::request::AdditionalPlace;
use crate::{
    AdditionalLoad, BootRequest, Constraints, FixedAddress, GuestRange, MemoryMap, Preference, RegionKind,
    arith,
};

/// An allocator of a machine's RAM.
///
/// The label of a range is its name in errors.
///
/// ```
/// use boot_core::{Constraints, GuestRange, MemoryMap, RamAllocator};
///
/// let map = MemoryMap::pc(64 << 20)?;
/// let mut allocator = RamAllocator::new(&map);
/// allocator.reserve("kernel", GuestRange::new(0x10_0000, 0x80_0000).unwrap())?;
/// let page = allocator.allocate("zero page", 0x1000, &Constraints::aligned(0x1000).not_below(0x1000))?;
/// assert_eq!(page.start(), 0x1000);
/// let initrd = allocator.allocate("initrd", 0x20_0000, &Constraints::below_4g(0x1000).highest())?;
/// assert_eq!(initrd.end(), 64 << 20);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct RamAllocator<'a> {
    map: &'a MemoryMap,
    /// Addresses that the request fixes.
    fixed: &'a [FixedAddress<'a>],
    /// The number of the request that chooses the kernel's address.
    placement_seed: Option<u64>,
    /// The taken ranges in order of addresses: not empty, without overlap. A hostile image can have more than a hundred thousand segments, which
    /// are in order, so a reservation behind all others must not take time proportional to their number.
    taken: Vec<(GuestRange, &'static str)>,
    /// The ranges that are kept for the pieces with these labels.
    kept: Vec<(GuestRange, &'static str)>,
}

/// A piece of a boot for [`RamAllocator::allocate_all`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Piece<'a> {
    /// Its label, by which a request may fix its address.
    pub label: &'static str,
    /// Its length in bytes; not zero.
    pub len: u64,
    /// Its constraints. The first that has room is used.
    pub windows: &'a [Constraints],
}

/// The place of a [`Piece`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PlacedPiece {
    /// Its range.
    pub range: GuestRange,
    /// The constraints that the range meets.
    pub constraints: Constraints,
}

impl<'a> RamAllocator<'a> {
    /// An allocator of the RAM of `map`; all of it is free.
    #[must_use]
    pub const fn new(map: &'a MemoryMap) -> Self {
        Self {
            map,
            fixed: &[],
            placement_seed: None,
            taken: Vec::new(),
            kept: Vec::new(),
        }
    }

    /// An allocator of the RAM of the request's machine that places the pieces of
    /// [`BootRequest::fixed_addresses`] at these addresses, and the kernel as [`BootRequest::placement_seed`] chooses. The additional loads of the request with an address
    /// are taken. Plans that use [`plan_around_fixed`](crate::protocol::plan_around_fixed) get it from there.
    ///
    /// # Errors
    ///
    /// [`PlacementError::Taken`] where two additional loads overlap, or [`PlacementError::WrongRegion`] where one is not in
    /// the machine's memory.
    pub fn for_request(request: &BootRequest<'a>) -> Result<Self, PlacementError> {
        let mut allocator = Self {
            fixed: request.fixed_addresses,
            placement_seed: request.placement_seed,
            ..Self::new(&request.machine.memory)
        };
        for load in request.additional_loads {
            if let AdditionalPlace::At(addr) = load.place {
                allocator.reserve_additional(load, addr)?;
            }
        }
        Ok(allocator)
    }

    /// Takes the range of an additional load at `addr`: in RAM, or in a region of its kind.
    fn reserve_additional(&mut self, load: &AdditionalLoad<'_>, addr: u64) -> Result<(), PlacementError> {
        let (label, kind, len) = (load.label, load.kind, load.content.len());
        let constraints = Constraints::NONE.not_below(addr);
        let range = GuestRange::new(addr, len).ok_or_else(|| PlacementError::NoRoom {
            label,
            len,
            constraints,
            largest_free: self.largest_free(label, &constraints),
        })?;
        if range.is_empty() {
            return Err(PlacementError::InvalidRequest {
                label,
                len,
                constraints,
            });
        }
        if kind == RegionKind::Ram {
            return self.reserve(label, range);
        }
        if !self.map.is_ram(range) && !self.map.is_kind(range, kind) {
            return Err(PlacementError::WrongRegion { label, range, kind });
        }
        self.exclude(label, range)
    }

    /// Keeps `range` for the piece with this label: other pieces are not placed there. The range may be taken, and need
    /// not be RAM.
    pub fn keep(&mut self, label: &'static str, range: GuestRange) {
        self.kept.push((range, label));
    }

    /// The ranges that are [kept](Self::keep), with the labels of their pieces.
    pub(crate) fn kept(&self) -> &[(GuestRange, &'static str)] {
        &self.kept
    }

    /// The address that the request fixes for the piece with this label.
    #[must_use]
    pub fn fixed_address(&self, label: &str) -> Option<u64> {
        let fixed = self.fixed.iter().find(|fixed| fixed.label == label)?;
        Some(fixed.addr)
    }

    /// The map it allocates from.
    #[must_use]
    pub const fn map(&self) -> &'a MemoryMap {
        self.map
    }

    /// Takes exactly `range`, which must be free RAM. An empty range takes nothing.
    ///
    /// # Errors
    ///
    /// [`PlacementError::NotRam`] where not all of it is RAM, or [`PlacementError::Taken`] where it overlaps a range
    /// that is taken or [kept](Self::keep) for another piece.
    pub fn reserve(&mut self, label: &'static str, range: GuestRange) -> Result<(), PlacementError> {
        if range.is_empty() {
            return Ok(());
        }
        if !self.map.is_ram(range) {
            let obstacle = Obstacle::first(self.map, range);
            return Err(PlacementError::NotRam {
                label,
                range,
                obstacle,
            });
        }
        self.exclude(label, range)
    }

    /// Takes exactly `range`, RAM or not, so that nothing is allocated there. An empty range takes nothing.
    ///
    /// # Errors
    ///
    /// [`PlacementError::Taken`] where it overlaps a range that is taken or [kept](Self::keep) for another piece.
    pub fn exclude(&mut self, label: &'static str, range: GuestRange) -> Result<(), PlacementError> {
        if range.is_empty() {
            return Ok(());
        }
        let kept = self.kept_for_others(label).find(|(kept, _)| kept.overlaps(range));
        if let Some((at, by)) = self.taken_in(range).next().or(kept) {
            return Err(PlacementError::Taken { label, range, by, at });
        }
        self.take(range, label);
        Ok(())
    }

    /// Takes the parts of `range` that are not taken, RAM or not.
    pub fn exclude_rest(&mut self, label: &'static str, range: GuestRange) {
        let mut free = Vec::new();
        let mut start = range.start();
        for (taken, _) in self.taken_in(range) {
            free.extend(GuestRange::from_bounds(start, taken.start()));
            start = taken.end();
        }
        free.extend(GuestRange::from_bounds(start, range.end()));
        for part in free.into_iter().filter(|part| !part.is_empty()) {
            self.take(part, label);
        }
    }

    /// Adds a range that overlaps no other one.
    fn take(&mut self, range: GuestRange, label: &'static str) {
        let index = self
            .taken
            .partition_point(|(taken, _)| taken.start() < range.start());
        self.taken.insert(index, (range, label));
    }

    /// The taken ranges that overlap `range`, sorted by address.
    fn taken_in(&self, range: GuestRange) -> impl Iterator<Item = (GuestRange, &'static str)> + '_ {
        let first = self
            .taken
            .partition_point(|(taken, _)| taken.end() <= range.start());
        let rest = self.taken.get(first..).unwrap_or_default();
        rest.iter()
            .copied()
            .take_while(move |(taken, _)| taken.start() < range.end())
            .filter(move |(taken, _)| taken.overlaps(range))
    }

    /// The ranges that are kept for pieces with other labels than this one.
    fn kept_for_others<'b>(
        &'b self,
        label: &'b str,
    ) -> impl Iterator<Item = (GuestRange, &'static str)> + use<'a, 'b> {
        self.kept.iter().filter(move |(_, of)| *of != label).copied()
    }

    /// Takes a free range of `len` bytes that meets the constraints: at the address that the request fixes for `label`,
    /// otherwise as chosen by the [`Preference`] of the constraints.
    ///
    /// Allocate the pieces that the request may fix by one call of [`allocate_all`](Self::allocate_all): apart from
    /// [kept](Self::keep) ranges, this method does not keep the memory of later pieces free.
    ///
    /// # Errors
    ///
    /// [`PlacementError::NoRoom`] where no free range meets the constraints, or [`PlacementError::InvalidRequest`]
    /// where `len` is zero or the constraints are [invalid](Constraints::is_valid). For a fixed address
    /// [`PlacementError::NotAllowed`], [`PlacementError::NotRam`] or [`PlacementError::Taken`].
    pub fn allocate(
        &mut self,
        label: &'static str,
        len: u64,
        constraints: &Constraints,
    ) -> Result<GuestRange, PlacementError> {
        let constraints = *constraints;
        if len == 0 || !constraints.is_valid() {
            return Err(PlacementError::InvalidRequest {
                label,
                len,
                constraints,
            });
        }
        if let Some(addr) = self.fixed_address(label) {
            return self.allocate_at(label, addr, len, constraints);
        }
        if let Preference::Address(addr) = constraints.preference {
            let preferred =
                GuestRange::new(addr, len).filter(|range| constraints.allows_in(*range, self.map));
            if let Some(range) = preferred {
                if self.reserve(label, range).is_ok() {
                    return Ok(range);
                }
            }
        }
        let windows = constraints.with_base_in(self.map, len);
        let gaps = self.gaps(label);
        let found = match constraints.preference {
            Preference::Random(seed) => random(seed, &gaps, &windows, len),
            Preference::Highest => gaps
                .iter()
                .copied()
                .rev()
                .find_map(|gap| windows.iter().rev().find_map(|window| window.fit(gap, len))),
            Preference::Lowest | Preference::Address(_) => gaps
                .iter()
                .copied()
                .find_map(|gap| windows.iter().find_map(|window| window.fit(gap, len))),
        };
        let range = found.ok_or_else(|| PlacementError::NoRoom {
            label,
            len,
            constraints,
            largest_free: largest_within(&gaps, &constraints),
        })?;
        self.reserve(label, range)?;
        Ok(range)
    }

    /// Takes the `len` bytes at `addr`, which must meet the constraints.
    fn allocate_at(
        &mut self,
        label: &'static str,
        addr: u64,
        len: u64,
        constraints: Constraints,
    ) -> Result<GuestRange, PlacementError> {
        let beyond = constraints.between(addr, u64::MAX);
        let range = GuestRange::new(addr, len).ok_or_else(|| PlacementError::NoRoom {
            label,
            len,
            constraints: beyond,
            largest_free: self.largest_free(label, &beyond),
        })?;
        if !constraints.allows_in(range, self.map) {
            return Err(PlacementError::NotAllowed {
                label,
                range,
                constraints,
            });
        }
        self.reserve(label, range)?;
        Ok(range)
    }

    /// Allocates several pieces, first those whose addresses the request fixes, so that no other one is placed there.
    /// Returns their ranges, each with the constraints it meets, in the order of the arguments.
    ///
    /// # Errors
    ///
    /// Those of [`allocate`](Self::allocate). Nothing is taken then.
    pub fn allocate_all(&mut self, pieces: &[Piece<'_>]) -> Result<Vec<PlacedPiece>, PlacementError> {
        let mut allocator = self.clone();
        let mut placed = alloc::vec![None; pieces.len()];
        for is_fixed in [true, false] {
            for (piece, placed) in pieces.iter().zip(&mut placed) {
                if allocator.fixed_address(piece.label).is_some() == is_fixed {
                    *placed = Some(allocator.allocate_piece(piece)?);
                }
            }
        }
        *self = allocator;
        Ok(placed.into_iter().flatten().collect())
    }

    /// Allocates one piece, in the first of its windows that has room.
    ///
    /// # Errors
    ///
    /// Those of [`allocate`](Self::allocate), for the last window, or the one that allows a fixed address.
    pub fn allocate_piece(&mut self, piece: &Piece<'_>) -> Result<PlacedPiece, PlacementError> {
        let Piece { label, len, windows } = *piece;
        // Without a window, no address is allowed.
        let mut error = PlacementError::NoRoom {
            label,
            len,
            constraints: Constraints::NONE.between(0, 0),
            largest_free: 0,
        };
        for constraints in windows {
            match self.allocate(label, len, constraints) {
                Ok(range) => {
                    let constraints = *constraints;
                    return Ok(PlacedPiece { range, constraints });
                }
                // Where the fixed address is allowed, the obstacle is the reason, not the other windows.
                Err(_)
                    if matches!(
                        error,
                        PlacementError::Taken { .. } | PlacementError::NotRam { .. }
                    ) => {}
                Err(failed) => error = failed,
            }
        }
        Err(error)
    }

    /// Length of the largest range of RAM that is free for the piece with this label, between the limits of the constraints.
    fn largest_free(&self, label: &str, constraints: &Constraints) -> u64 {
        largest_within(&self.gaps(label), constraints)
    }

    /// The RAM that is free for the piece with this label, sorted by address.
    fn gaps(&self, label: &str) -> Vec<GuestRange> {
        let mut gaps = Vec::new();
        for ram in self.map.ram() {
            let mut start = ram.start();
            for (taken, _) in self.taken_in(ram) {
                gaps.extend(GuestRange::from_bounds(start, taken.start()));
                start = taken.end();
            }
            gaps.extend(GuestRange::from_bounds(start, ram.end()));
        }
        for (kept, _) in self.kept_for_others(label) {
            let outside = |gap: GuestRange| {
                let below = GuestRange::from_bounds(gap.start(), gap.end().min(kept.start()));
                let above = GuestRange::from_bounds(gap.start().max(kept.end()), gap.end());
                [below, above]
            };
            gaps = gaps.into_iter().flat_map(outside).flatten().collect();
        }
        gaps
    }
}

/// One of the ranges of `len` bytes in the gaps that meet the constraints of one of the windows, chosen by `seed`.
fn random(seed: u64, gaps: &[GuestRange], windows: &[Constraints], len: u64) -> Option<GuestRange> {
    let pairs = || {
        let in_gap = |gap| windows.iter().map(move |window: &Constraints| (*window, gap));
        gaps.iter().copied().flat_map(in_gap)
    };
    let counts = pairs().map(|(window, gap)| window.count(gap, len));
    let mut index = arith::choose(seed, counts.fold(0, u64::saturating_add));
    for (window, gap) in pairs() {
        match index.checked_sub(window.count(gap, len)) {
            Some(rest) => index = rest,
            None => return window.nth(gap, len, index),
        }
    }
    None
}

/// Length of the largest part of a gap between the limits of the constraints.
fn largest_within(gaps: &[GuestRange], constraints: &Constraints) -> u64 {
    let inside = |gap: &GuestRange| {
        let (start, end) = (gap.start().max(constraints.min), gap.end().min(constraints.max));
        end.saturating_sub(start)
    };
    gaps.iter().map(inside).max().unwrap_or_default()
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
        let check = |len, constraints: Constraints, expected: Option<u64>| {
            let mut allocator = RamAllocator::new(&map);
            allocator.reserve("kernel", range(0x11_0000, 0x18_0000)).unwrap();
            let found = allocator.allocate("page", len, &constraints).ok();
            assert_eq!(found.map(GuestRange::start), expected, "{len:#x} {constraints:?}");
        };
        let page = Constraints::aligned(0x1000);
        check(0x1000, page, Some(0x1000));
        check(0x1000, page.highest(), Some(0x1f_f000));
        check(0x1000, page.between(0x2800, u64::MAX), Some(0x3000));
        check(0x1000, page.between(0, 0x9000).highest(), Some(0x8000));
        check(0x1000, page.between(0, 0x1fff), None);
        check(0x9000, page, Some(0x10_0000));
        check(0x2_0000, page, Some(0x18_0000));
        check(0x8_0001, page, None);
        let offset = Constraints::aligned(0x1_0000).with_align_offset(0x3000);
        check(0x1000, offset, Some(0x3000));
        check(0x1000, offset.not_below(0x3001), Some(0x10_3000));
        check(0x1000, offset.highest(), Some(0x1f_3000));
        check(u64::MAX, page, None);
        check(0, page, None);
        for invalid in [0, 3] {
            check(0x1000, Constraints::aligned(invalid), None);
        }
        check(0x1000, Constraints::aligned(2).with_align_offset(2), None);
        // A preferred address is taken where it is allowed and free; otherwise the lowest one is.
        check(0x1000, page.prefer(0x5000), Some(0x5000));
        check(0x1000, page.prefer(0x5800), Some(0x1000));
        check(0x1000, page.prefer(0x11_0000), Some(0x1000));
        check(0x1000, page.prefer(0x9000), Some(0x1000));
        check(0x1000, page.not_above(0x5fff).prefer(0x5000), Some(0x1000));
    }

    #[test]
    fn reservations_conflict_by_name() {
        let map = map();
        let mut allocator = RamAllocator::new(&map);
        allocator.reserve("kernel", range(0x11_0000, 0x18_0000)).unwrap();
        allocator.reserve("left", range(0x10_0000, 0x11_0000)).unwrap();
        allocator.reserve("right", range(0x18_0000, 0x18_1000)).unwrap();
        let error = allocator
            .reserve("initrd", range(0x17_ffff, 0x18_0000))
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            "the initrd must be at 0x17ffff..0x180000, but the kernel is at 0x110000..0x180000"
        );
        let error = allocator.reserve("table", range(0x8000, 0x9001)).unwrap_err();
        assert!(matches!(error, PlacementError::NotRam { label: "table", .. }));
        allocator.exclude("device", range(0x8000, 0xb000)).unwrap();
        let error = allocator.reserve("table", range(0x8000, 0x8001)).unwrap_err();
        assert!(matches!(error, PlacementError::Taken { by: "device", .. }));
    }

    fn piece<'a>(label: &'static str, len: u64, windows: &'a [Constraints]) -> Piece<'a> {
        Piece { label, len, windows }
    }

    #[test]
    fn pieces_with_a_fixed_address_are_placed_first() {
        let map = map();
        let fixed = [
            FixedAddress::new("table", 0x1000),
            FixedAddress::new("initrd", 0x10_0000),
        ];
        let place = |pieces: &[Piece<'_>]| {
            let mut allocator = RamAllocator::new(&map);
            allocator.fixed = &fixed;
            let placed = allocator.allocate_all(pieces);
            let is_unchanged = allocator.taken.is_empty();
            placed
                .map(|placed| placed.iter().map(|piece| piece.range.start()).collect::<Vec<_>>())
                .inspect_err(|_| assert!(is_unchanged))
        };
        let page = Constraints::aligned(0x1000);
        let low = &[page.not_above(0x9000)];
        let windows = &[page.not_above(0x9000), page.not_below(0x10_0000)];
        // The first page and the table want the lowest page; the table has it by the request.
        assert_eq!(
            place(&[
                piece("page", 0x1000, low),
                piece("table", 0x2000, low),
                piece("initrd", 0x1000, windows)
            ]),
            Ok(alloc::vec![0x3000, 0x1000, 0x10_0000])
        );
        assert_eq!(
            place(&[piece("page", 0x1000, &[])]),
            Err(PlacementError::NoRoom {
                label: "page",
                len: 0x1000,
                constraints: Constraints::NONE.between(0, 0),
                largest_free: 0,
            })
        );
        let check = |label, len, constraints: Constraints, expected: &str| {
            let error = place(&[piece(label, len, &[constraints])]).unwrap_err();
            assert_eq!(error.to_string(), expected);
        };
        check(
            "table",
            0x1000,
            Constraints::aligned(0x2000),
            "the table cannot be at 0x1000..0x2000: it must be aligned to 0x2000",
        );
        check(
            "table",
            0x8001,
            page,
            "the table must be at 0x1000..0x9001, but the range 0x9000..0xa000 of the memory map is reserved",
        );
        check(
            "initrd",
            u64::MAX,
            page,
            "no free RAM for the initrd: it needs 16777215.9 TiB aligned to 0x1000, at or above 0x100000; the largest free range \
             there has 1 MiB",
        );
    }

    #[test]
    fn the_rest_of_a_range_is_taken() {
        let map = map();
        let mut allocator = RamAllocator::new(&map);
        allocator.reserve("kernel", range(0x2000, 0x3000)).unwrap();
        allocator.reserve("table", range(0x4000, 0x5000)).unwrap();
        allocator.exclude_rest("firmware", range(0x1000, 0x4800));
        let taken = allocator.taken;
        assert_eq!(
            taken,
            [
                (range(0x1000, 0x2000), "firmware"),
                (range(0x2000, 0x3000), "kernel"),
                (range(0x3000, 0x4000), "firmware"),
                (range(0x4000, 0x5000), "table"),
            ]
        );
    }

    #[test]
    fn errors_say_what_does_not_fit_where() {
        let check = |error: PlacementError, expected| assert_eq!(error.to_string(), expected);
        let (label, range) = ("table", range(0x1000, 0x2000));
        check(
            PlacementError::NotRam {
                label,
                range,
                obstacle: Obstacle::NoMemory(range),
            },
            "the table must be at 0x1000..0x2000, but the machine has no memory at 0x1000..0x2000",
        );
        check(
            PlacementError::TooHigh {
                label,
                range,
                max: 0x1800,
            },
            "the table must be at 0x1000..0x2000, but it can only be started below 0x1800",
        );
        check(
            PlacementError::NoRoom {
                label,
                len: 0x10,
                constraints: Constraints::aligned(8),
                largest_free: 0,
            },
            "no free RAM for the table: it needs 16 B aligned to 0x8; no RAM is free there",
        );
        check(
            PlacementError::InvalidRequest {
                label,
                len: 0,
                constraints: Constraints::aligned(3).with_align_offset(4),
            },
            "invalid request of 0x0 bytes for the table: alignment 0x3, remainder 0x4; the length must not be zero \
             and the alignment a power of two above the remainder",
        );
    }

    #[test]
    fn errors_have_the_first_part_that_is_not_ram() {
        let map = map();
        let check = |start, end, expected: &str| {
            let error = RamAllocator::new(&map)
                .reserve("table", range(start, end))
                .unwrap_err();
            let PlacementError::NotRam { obstacle, .. } = error else {
                panic!("{error:?}");
            };
            assert_eq!(obstacle.to_string(), expected, "{start:#x}..{end:#x}");
        };
        check(
            0x8000,
            0x9001,
            "the range 0x9000..0xa000 of the memory map is reserved",
        );
        check(
            0x9800,
            0x9900,
            "the range 0x9000..0xa000 of the memory map is reserved",
        );
        check(0, 0x2000, "the machine has no memory at 0x0..0x1000");
        check(0, 0x800, "the machine has no memory at 0x0..0x800");
        check(0xb000, 0x11_0000, "the machine has no memory at 0xb000..0x100000");
        check(
            0x18_0000,
            0x28_0000,
            "the machine has no memory at 0x200000..0x280000",
        );
        check(
            0x30_0000,
            0x40_0000,
            "the machine has no memory at 0x300000..0x400000",
        );
    }

    #[test]
    fn empty_ranges_take_nothing() {
        let map = map();
        let mut allocator = RamAllocator::new(&map);
        assert_eq!(allocator.map(), &map);
        allocator.reserve("nothing", range(0, 0)).unwrap();
        allocator.exclude("nothing", range(0x2000, 0x2000)).unwrap();
        allocator.reserve("all", range(0x1000, 0x9000)).unwrap();
        allocator.exclude("nothing", range(0x2000, 0x2000)).unwrap();
    }
}
