//! The order in which formats and protocols are tried.

/// The rank of a format or a protocol: lower values are tried first, equal ones in the order of names.
///
/// The plugins of this workspace use the constants. A plugin that must come between two of them takes a value between:
/// `Priority::new(Priority::SPECIFIC.value() + 1)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Priority(u32);

impl Priority {
    /// Formats and protocols that are tried before all others.
    pub const FIRST: Self = Self(0);
    /// Formats whose images are also images of a [`STANDARD`](Self::STANDARD) format: a bzImage and an arm64 `Image`
    /// are PE files, too. Protocols that are preferred for a kernel with several entry points.
    pub const SPECIFIC: Self = Self(50);
    /// Formats with a magic number of their own, and protocols with an entry point of their own. The default.
    pub const STANDARD: Self = Self(100);
    /// Fallback formats and protocols.
    pub const LAST: Self = Self(1000);

    /// The priority with this value.
    #[must_use]
    pub const fn new(value: u32) -> Self {
        Self(value)
    }

    /// The value: lower ones are tried first.
    #[must_use]
    pub const fn value(self) -> u32 {
        self.0
    }
}

impl Default for Priority {
    fn default() -> Self {
        Self::STANDARD
    }
}

#[cfg(test)]
mod tests {
    use super::Priority;

    #[test]
    fn the_constants_are_in_order() {
        let constants = [
            Priority::FIRST,
            Priority::SPECIFIC,
            Priority::STANDARD,
            Priority::LAST,
        ];
        assert!(constants.is_sorted_by(|a, b| a < b));
        assert_eq!(Priority::default(), Priority::STANDARD);
        assert_eq!(Priority::new(Priority::SPECIFIC.value()), Priority::SPECIFIC);
    }
}
