//! Ranges of relative virtual addresses.

use core::fmt;

/// Range of relative virtual addresses (RVAs): addresses relative to the start of the image in memory. The end is
/// exclusive.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RvaRange {
    start: u32,
    end: u32,
}

impl RvaRange {
    /// Range of `len` bytes from `start`; `None` if its end does not fit 32 bits.
    #[must_use]
    pub const fn new(start: u32, len: u32) -> Option<Self> {
        match start.checked_add(len) {
            Some(end) => Some(Self { start, end }),
            None => None,
        }
    }

    /// First address.
    #[must_use]
    pub const fn start(self) -> u32 {
        self.start
    }

    /// Address after the last.
    #[must_use]
    pub const fn end(self) -> u32 {
        self.end
    }

    /// Length in bytes.
    #[must_use]
    #[expect(clippy::arithmetic_side_effects, reason = "`start <= end` always holds")]
    pub const fn len(self) -> u32 {
        self.end - self.start
    }

    /// True if the range is empty.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.start == self.end
    }

    /// True if the two ranges have a common byte.
    #[must_use]
    pub const fn overlaps(self, other: Self) -> bool {
        !self.is_empty() && !other.is_empty() && self.start < other.end && other.start < self.end
    }
}

impl fmt::Display for RvaRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}..{:#x}", self.start, self.end)
    }
}

impl fmt::Debug for RvaRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::RvaRange;

    #[test]
    fn ranges_print_in_hexadecimal() {
        let range = RvaRange::new(0x1000, 0x20).unwrap();
        assert_eq!(
            alloc::format!("{range} {range:?}"),
            "0x1000..0x1020 0x1000..0x1020"
        );
    }
}
