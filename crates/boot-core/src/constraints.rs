//! Constraints on addresses in guest memory.

use alloc::vec::Vec;
use core::fmt;

use crate::{GuestRange, MemoryMap, arith};

/// Which of the addresses that meet [`Constraints`] is chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "kebab-case"))]
#[non_exhaustive]
pub enum Preference {
    /// The lowest allowed address that is free.
    #[default]
    Lowest,
    /// The highest allowed address that is free.
    Highest,
    /// This address if it is allowed and free, otherwise as [`Lowest`](Self::Lowest).
    Address(u64),
    /// An allowed address that is free, chosen by this number. With random numbers, every such address is as likely as another one. Equal
    /// numbers choose equal addresses.
    Random(u64),
}

/// Constraints on the address of an image, a load or an allocation: alignment, base, window and preference.
///
/// A range of `len` bytes that starts at `start` meets them when `start mod align == align_offset`, `start - base_offset`
/// is an address in RAM, `min <= start` and `start + len <= max`. The preference selects one of these ranges; it excludes
/// none.
///
/// ```
/// use boot_core::Constraints;
///
/// let low_page = Constraints::aligned(0x1000).between(0x1000, 1 << 32);
/// assert!(low_page.allows_at(0x2000, 0x1000));
/// assert!(!low_page.allows_at(0x2800, 0x1000));
/// assert!(!low_page.allows_at(0xffff_f000, 0x1001));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Constraints {
    /// Alignment of the start in bytes: a power of two, at least one.
    pub align: u64,
    /// Remainder of the start modulo `align`: below `align`, usually zero.
    pub align_offset: u64,
    /// Distance in bytes of the start from its *base*, a lower address that must be RAM, used or not. Zero if the base is
    /// the start itself. An arm64 `Image` has its `text_offset` here.
    pub base_offset: u64,
    /// Lowest address allowed.
    pub min: u64,
    /// End of the window: the range must end at or below this address.
    pub max: u64,
    /// Which of the allowed addresses is chosen.
    pub preference: Preference,
}

impl Constraints {
    /// Any address; the lowest is preferred.
    pub const NONE: Self = Self::aligned(1);

    /// Any multiple of `align`; the lowest is preferred.
    #[must_use]
    pub const fn aligned(align: u64) -> Self {
        Self {
            align,
            align_offset: 0,
            base_offset: 0,
            min: 0,
            max: u64::MAX,
            preference: Preference::Lowest,
        }
    }

    /// Any multiple of `align` below 4 GiB; the lowest is preferred.
    #[must_use]
    pub const fn below_4g(align: u64) -> Self {
        Self::aligned(align).between(0, 1 << 32)
    }

    /// The same with another alignment.
    #[must_use]
    pub const fn with_align(self, align: u64) -> Self {
        Self { align, ..self }
    }

    /// The same with a start of `align_offset` bytes above a multiple of the alignment.
    #[must_use]
    pub const fn with_align_offset(self, align_offset: u64) -> Self {
        Self { align_offset, ..self }
    }

    /// The same with a start of `base_offset` bytes above an address in RAM. The alignment remains that of the start.
    #[must_use]
    pub const fn with_base_offset(self, base_offset: u64) -> Self {
        Self { base_offset, ..self }
    }

    /// The same with the window from `min` to `max` (exclusive) in place of the present one.
    #[must_use]
    pub const fn between(self, min: u64, max: u64) -> Self {
        Self { min, max, ..self }
    }

    /// The same with the start of the window raised to `min`, if it is lower.
    #[must_use]
    pub fn not_below(self, min: u64) -> Self {
        Self {
            min: self.min.max(min),
            ..self
        }
    }

    /// The same with the end of the window lowered to `max` (exclusive), if it is higher.
    #[must_use]
    pub fn not_above(self, max: u64) -> Self {
        Self {
            max: self.max.min(max),
            ..self
        }
    }

    /// The same with the highest address preferred.
    #[must_use]
    pub const fn highest(self) -> Self {
        Self {
            preference: Preference::Highest,
            ..self
        }
    }

    /// The same with `addr` preferred.
    #[must_use]
    pub const fn prefer(self, addr: u64) -> Self {
        Self {
            preference: Preference::Address(addr),
            ..self
        }
    }

    /// The same with an address that the number `seed` chooses.
    #[must_use]
    pub const fn random(self, seed: u64) -> Self {
        Self {
            preference: Preference::Random(seed),
            ..self
        }
    }

    /// The preferred address, if any.
    #[must_use]
    pub const fn preferred_address(self) -> Option<u64> {
        match self.preference {
            Preference::Address(addr) => Some(addr),
            Preference::Lowest | Preference::Highest | Preference::Random(_) => None,
        }
    }

    /// Whether the alignment is a power of two and the remainder is below it. No range meets invalid constraints.
    #[must_use]
    pub const fn is_valid(self) -> bool {
        self.align.is_power_of_two() && self.align_offset < self.align
    }

    /// Whether `range` meets the constraints in RAM without a gap: all of them except that the base is RAM. See
    /// [`allows_in`](Self::allows_in).
    #[must_use]
    pub const fn allows(self, range: GuestRange) -> bool {
        self.allows_at(range.start(), range.len())
    }

    /// Whether `range` meets the constraints on a machine with this memory map. The range itself need not be RAM.
    #[must_use]
    pub fn allows_in(self, range: GuestRange, map: &MemoryMap) -> bool {
        let has_base = self.base_offset == 0
            || range
                .start()
                .checked_sub(self.base_offset)
                .and_then(|base| GuestRange::new(base, 1))
                .is_some_and(|base| map.is_ram(base));
        self.allows(range) && has_base
    }

    /// Whether the `len` bytes from `start` meet the constraints, as [`allows`](Self::allows) does.
    #[must_use]
    pub const fn allows_at(self, start: u64, len: u64) -> bool {
        let is_inside = match start.checked_add(len) {
            Some(end) => start >= self.min && end <= self.max,
            None => false,
        };
        let is_aligned = match start.checked_sub(self.align_offset) {
            Some(multiple) => arith::align_down(multiple, self.align) == multiple,
            None => false,
        };
        self.is_valid() && is_inside && is_aligned && start >= self.base_offset
    }

    /// The constraints with a window for `len` bytes that leaves the base in RAM: one for each region of RAM, in order of
    /// addresses. They allow the same ranges of this length together.
    pub(crate) fn with_base_in(self, map: &MemoryMap, len: u64) -> Vec<Self> {
        if self.base_offset == 0 {
            return [self].to_vec();
        }
        map.ram()
            .filter_map(|ram| {
                let first = ram.start().checked_add(self.base_offset)?;
                let last = ram.end().saturating_sub(1).saturating_add(self.base_offset);
                Some(self.not_below(first).not_above(last.saturating_add(len)))
            })
            .collect()
    }

    /// The lowest range of `len` bytes in `gap` that meets the constraints, or the highest one where that is preferred.
    /// Whether its base is RAM is not checked.
    pub(crate) fn fit(self, gap: GuestRange, len: u64) -> Option<GuestRange> {
        let (lowest, highest) = self.starts(gap, len)?;
        let start = match self.preference {
            Preference::Lowest | Preference::Address(_) | Preference::Random(_) => lowest,
            Preference::Highest => highest,
        };
        GuestRange::new(start, len)
    }

    /// Number of ranges of `len` bytes in `gap` that meet the constraints. Whether their bases are RAM is not checked.
    pub(crate) fn count(self, gap: GuestRange, len: u64) -> u64 {
        let Some((lowest, highest)) = self.starts(gap, len) else {
            return 0;
        };
        let steps = highest.saturating_sub(lowest).checked_div(self.align);
        steps.unwrap_or_default().saturating_add(1)
    }

    /// The range of [`count`](Self::count) with this index, in order of addresses.
    pub(crate) fn nth(self, gap: GuestRange, len: u64, index: u64) -> Option<GuestRange> {
        let (lowest, highest) = self.starts(gap, len)?;
        let start = lowest.checked_add(index.checked_mul(self.align)?)?;
        GuestRange::new(start, len).filter(|range| range.start() <= highest)
    }

    /// The lowest and the highest start of a range of `len` bytes in `gap` that meets the constraints.
    fn starts(self, gap: GuestRange, len: u64) -> Option<(u64, u64)> {
        let window = GuestRange::from_bounds(gap.start().max(self.min), gap.end().min(self.max))?;
        let lowest = self.lowest_from(window.start())?;
        let last = window.end().checked_sub(len)?.checked_sub(self.align_offset)?;
        let highest = arith::align_down(last, self.align).checked_add(self.align_offset)?;
        (lowest <= highest).then_some((lowest, highest))
    }

    /// The lowest address from `min` on with the right alignment and enough addresses below it for its base.
    pub(crate) fn lowest_from(self, min: u64) -> Option<u64> {
        let min = min.max(self.base_offset);
        let multiple = arith::align_up(min.saturating_sub(self.align_offset), self.align)?;
        multiple.checked_add(self.align_offset)
    }
}

/// Completes "it must be …" in error messages: `aligned to 0x1000, between 0x1000 and 0x100000000`. The preference is not
/// printed.
impl fmt::Display for Constraints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_aligned = self.align > 1 || self.align_offset > 0;
        match (self.align, self.align_offset) {
            _ if !is_aligned => {}
            (align, 0) => write!(f, "aligned to {align:#x}")?,
            (align, offset) => write!(f, "{offset:#x} above a multiple of {align:#x}")?,
        }
        if self.base_offset > 0 {
            let separator = if is_aligned { ", " } else { "" };
            write!(f, "{separator}{:#x} above an address in RAM", self.base_offset)?;
        }
        let is_placed = is_aligned || self.base_offset > 0;
        let has_window = self.min > 0 || self.max < u64::MAX;
        if is_placed && has_window {
            f.write_str(", ")?;
        }
        match (self.min, self.max) {
            (0, u64::MAX) if is_placed => Ok(()),
            (0, u64::MAX) => f.write_str("at any address"),
            (0, max) => write!(f, "below {max:#x}"),
            (min, u64::MAX) => write!(f, "at or above {min:#x}"),
            (min, max) => write!(f, "between {min:#x} and {max:#x}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::string::ToString;

    use super::*;
    use crate::RegionKind;

    #[test]
    fn ranges_are_allowed_by_alignment_and_window() {
        let check = |constraints: Constraints, start, len, expected| {
            assert_eq!(
                constraints.allows_at(start, len),
                expected,
                "{constraints:?} {start:#x}"
            );
        };
        let page = Constraints::aligned(0x1000);
        check(Constraints::NONE, 0, 0, true);
        check(Constraints::NONE, 1, u64::MAX - 1, true);
        check(Constraints::NONE, 1, u64::MAX, false);
        check(page, 0x1000, 1, true);
        check(page, 0x1001, 1, false);
        check(page.with_align_offset(0x800), 0x1800, 1, true);
        check(page.with_align_offset(0x800), 0x400, 1, false);
        check(page.with_align_offset(0x800), 0x1000, 1, false);
        check(page.between(0x2000, 0x4000), 0x2000, 0x2000, true);
        check(page.between(0x2001, 0x4000), 0x2000, 0x2000, false);
        check(page.between(0x2000, 0x3fff), 0x2000, 0x2000, false);
        check(Constraints::below_4g(1), 0xffff_ffff, 1, true);
        check(Constraints::below_4g(1), 0xffff_ffff, 2, false);
        check(page.prefer(0x5000), 0x1000, 1, true);
        check(page.highest(), 0x1000, 1, true);
        check(page.not_below(0x2000).not_below(0x1000), 0x1000, 1, false);
        check(page.not_above(0x2000).not_above(0x3000), 0x2000, 1, false);
        for invalid in [
            Constraints::aligned(0),
            Constraints::aligned(3),
            Constraints::aligned(2).with_align_offset(2),
        ] {
            assert!(!invalid.is_valid());
            check(invalid, 6, 1, false);
        }
        check(page.with_align(0x800), 0x800, 1, true);
        check(page.with_base_offset(0x3000), 0x3000, 1, true);
        check(page.with_base_offset(0x3000), 0x2000, 1, false);
    }

    #[test]
    fn the_base_is_ram() {
        let range = |start, end| GuestRange::from_bounds(start, end).unwrap();
        let mut map = MemoryMap::new();
        for ram in [range(0x1000, 0x3000), range(0x5000, 0x6000)] {
            map.insert(ram, RegionKind::Ram).unwrap();
        }
        let check = |base_offset, start, expected| {
            let constraints = Constraints::aligned(0x1000).with_base_offset(base_offset);
            let found = constraints.allows_in(range(start, start + 1), &map);
            assert_eq!(found, expected, "{base_offset:#x} {start:#x}");
        };
        check(0x2000, 0x3000, true);
        check(0x2000, 0x4000, true);
        check(0x2000, 0x5000, false);
        check(0x2000, 0x2000, false);
        check(0x2000, 0x1000, false);
        check(0x2000, 0x7000, true);
        check(0x2000, 0x7800, false);
        check(0x2fff, 0x3000, false);
        // Without an offset, the machine's RAM does not matter.
        check(0, 0x4000, true);
        check(0, 0x4800, false);
    }

    #[test]
    fn only_an_address_is_a_preferred_address() {
        let page = Constraints::aligned(0x1000);
        assert_eq!(page.preferred_address(), None);
        assert_eq!(page.highest().preferred_address(), None);
        assert_eq!(page.prefer(0x5000).preferred_address(), Some(0x5000));
        assert_eq!(page.prefer(0x5000).highest().preferred_address(), None);
    }

    #[test]
    fn only_what_excludes_something_is_printed() {
        let check = |constraints: Constraints, expected| assert_eq!(constraints.to_string(), expected);
        check(Constraints::NONE, "at any address");
        check(Constraints::NONE.highest(), "at any address");
        check(Constraints::aligned(8), "aligned to 0x8");
        check(
            Constraints::aligned(1).with_align_offset(1),
            "0x1 above a multiple of 0x1",
        );
        check(Constraints::below_4g(1), "below 0x100000000");
        check(Constraints::NONE.not_below(0x1000), "at or above 0x1000");
        check(Constraints::NONE.between(1, 2), "between 0x1 and 0x2");
        check(
            Constraints::aligned(0x20_0000)
                .with_align_offset(0x8_0000)
                .between(0x1000, 1 << 32),
            "0x80000 above a multiple of 0x200000, between 0x1000 and 0x100000000",
        );
        let two_mib = Constraints::aligned(0x20_0000).with_base_offset(0x40_0000);
        check(two_mib, "aligned to 0x200000, 0x400000 above an address in RAM");
        check(
            Constraints::below_4g(1).with_base_offset(0x10),
            "0x10 above an address in RAM, below 0x100000000",
        );
    }
}
