//! Ranges of guest physical addresses and of source bytes.

use core::fmt;

use crate::arith;

/// A range of guest physical addresses: `start..end`, `end` exclusive.
///
/// The end is at most `u64::MAX`, so arithmetic on a range cannot wrap, and no range contains the address `u64::MAX`. A
/// range may be empty.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(try_from = "crate::serialize::Bounds")
)]
pub struct GuestRange {
    start: u64,
    end: u64,
}

impl GuestRange {
    /// The empty range at address zero.
    pub const EMPTY: Self = Self { start: 0, end: 0 };

    /// The range of `len` bytes from `start`, or `None` where it would wrap around the end of the address space.
    #[must_use]
    pub const fn new(start: u64, len: u64) -> Option<Self> {
        match start.checked_add(len) {
            Some(end) => Some(Self { start, end }),
            None => None,
        }
    }

    /// The range from `start` to `end` (exclusive), or `None` where `end` is below `start`.
    #[must_use]
    pub const fn from_bounds(start: u64, end: u64) -> Option<Self> {
        if start <= end {
            Some(Self { start, end })
        } else {
            None
        }
    }

    /// The first address, also of an empty range.
    #[must_use]
    pub const fn start(self) -> u64 {
        self.start
    }

    /// The address after the last.
    #[must_use]
    pub const fn end(self) -> u64 {
        self.end
    }

    /// The length in bytes.
    #[must_use]
    #[expect(clippy::arithmetic_side_effects, reason = "`start <= end` always holds")]
    pub const fn len(self) -> u64 {
        self.end - self.start
    }

    /// Whether the length is zero.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.start == self.end
    }

    /// Whether `addr` lies in the range.
    #[must_use]
    pub const fn contains_addr(self, addr: u64) -> bool {
        self.start <= addr && addr < self.end
    }

    /// Whether every byte of `other` lies in this range. An empty range is contained where its start is in
    /// `start..=end`.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.start <= other.start && other.end <= self.end
    }

    /// Whether the two ranges share a byte.
    #[must_use]
    pub const fn overlaps(self, other: Self) -> bool {
        !self.is_empty() && !other.is_empty() && self.start < other.end && other.start < self.end
    }

    /// The bytes that both ranges share, if any.
    #[must_use]
    pub fn intersection(self, other: Self) -> Option<Self> {
        self.overlaps(other).then(|| Self {
            start: self.start.max(other.start),
            end: self.end.min(other.end),
        })
    }

    /// The smallest range that contains both.
    #[must_use]
    pub fn span(self, other: Self) -> Self {
        Self {
            start: self.start.min(other.start),
            end: self.end.max(other.end),
        }
    }

    /// The range of the same length from `start`, or `None` where it would wrap around.
    #[must_use]
    pub const fn moved_to(self, start: u64) -> Option<Self> {
        Self::new(start, self.len())
    }

    /// The smallest range that contains this one and starts and ends at multiples of `align`, a power of two, or `None`
    /// where its end is above `u64::MAX`.
    #[must_use]
    pub fn aligned_out(self, align: u64) -> Option<Self> {
        Self::from_bounds(
            arith::align_down(self.start, align),
            arith::align_up(self.end, align)?,
        )
    }
}

impl fmt::Display for GuestRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}..{:#x}", self.start, self.end)
    }
}

impl fmt::Debug for GuestRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A range of bytes in a [`ByteSource`](crate::ByteSource).
///
/// `offset + len` is at most `u64::MAX`. The source may be shorter.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct SourceRange {
    offset: u64,
    end: u64,
}

impl SourceRange {
    /// The range of `len` bytes from `offset`, or `None` where its end is above `u64::MAX`.
    #[must_use]
    pub const fn new(offset: u64, len: u64) -> Option<Self> {
        match offset.checked_add(len) {
            Some(end) => Some(Self { offset, end }),
            None => None,
        }
    }

    /// The whole of a source of `len` bytes.
    #[must_use]
    pub const fn whole(len: u64) -> Self {
        Self { offset: 0, end: len }
    }

    /// The offset of the first byte.
    #[must_use]
    pub const fn offset(self) -> u64 {
        self.offset
    }

    /// The offset after the last byte.
    #[must_use]
    pub const fn end(self) -> u64 {
        self.end
    }

    /// The length in bytes.
    #[must_use]
    #[expect(clippy::arithmetic_side_effects, reason = "`offset <= end` always holds")]
    pub const fn len(self) -> u64 {
        self.end - self.offset
    }

    /// Whether the length is zero.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.offset == self.end
    }
}

impl fmt::Display for SourceRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}..{:#x}", self.offset, self.end)
    }
}

impl fmt::Debug for SourceRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_never_wrap() {
        assert!(GuestRange::new(u64::MAX, 0).is_some());
        assert!(GuestRange::new(u64::MAX, 1).is_none());
        assert!(GuestRange::from_bounds(2, 1).is_none());
        assert!(SourceRange::new(u64::MAX, 1).is_none());
    }

    fn overlap(a: GuestRange, b: GuestRange) -> bool {
        assert_eq!(a.overlaps(b), b.overlaps(a), "overlap is symmetric");
        assert_eq!(a.overlaps(b), a.intersection(b).is_some());
        a.overlaps(b)
    }

    #[test]
    fn overlap_and_containment() {
        let range = |start, end| GuestRange::from_bounds(start, end).unwrap();
        let check = |a, b, overlaps, contains| {
            assert_eq!(
                (overlap(a, b), a.contains(b)),
                (overlaps, contains),
                "{a} and {b}"
            );
        };
        check(range(0, 10), range(10, 20), false, false);
        check(range(0, 10), range(9, 20), true, false);
        check(range(0, 10), range(2, 5), true, true);
        check(range(0, 10), range(5, 5), false, true);
        check(range(5, 5), range(5, 5), false, true);
    }

    #[test]
    fn bounds_and_lengths() {
        let range = |start, end| GuestRange::from_bounds(start, end).unwrap();
        assert_eq!(GuestRange::new(2, 3), Some(range(2, 5)));
        assert_eq!(
            (range(2, 5).start(), range(2, 5).end(), range(2, 5).len()),
            (2, 5, 3)
        );
        assert_eq!([2, 5].map(|end| range(2, end).is_empty()), [true, false]);
        assert_eq!(
            [1, 2, 4, 5].map(|addr| range(2, 5).contains_addr(addr)),
            [false, true, true, false]
        );
        assert_eq!(range(2, 5).intersection(range(4, 9)), Some(range(4, 5)));
        assert_eq!(range(4, 9).intersection(range(2, 5)), Some(range(4, 5)));
        assert_eq!(range(2, 5).span(range(7, 9)), range(2, 9));
        assert_eq!(range(7, 9).span(range(2, 5)), range(2, 9));
        assert_eq!(range(2, 5).moved_to(7), Some(range(7, 10)));
        assert_eq!(range(2, 5).moved_to(u64::MAX), None);
        assert_eq!(
            range(0x1001, 0x1fff).aligned_out(0x1000),
            Some(range(0x1000, 0x2000))
        );
        assert_eq!(range(0, u64::MAX).aligned_out(0x1000), None);
        assert_eq!(std::format!("{0} {0:?}", range(16, 32)), "0x10..0x20 0x10..0x20");
    }

    #[test]
    fn containment_counts_both_ends() {
        let range = |start, end| GuestRange::from_bounds(start, end).unwrap();
        let check = |a: GuestRange, b, expected| assert_eq!(a.contains(b), expected, "{a} and {b}");
        check(range(2, 5), range(2, 5), true);
        check(range(2, 5), range(1, 5), false);
        check(range(2, 5), range(2, 6), false);
        check(range(2, 5), range(5, 5), true);
        check(range(2, 5), range(6, 6), false);
    }

    #[test]
    fn source_ranges_have_offset_and_length() {
        let range = SourceRange::new(2, 3).unwrap();
        assert_eq!((range.offset(), range.end(), range.len()), (2, 5, 3));
        assert!(!range.is_empty() && SourceRange::whole(0).is_empty());
        assert_eq!(SourceRange::whole(5), SourceRange::new(0, 5).unwrap());
        assert_eq!(std::format!("{range} {range:?}"), "0x2..0x5 0x2..0x5");
    }
}
