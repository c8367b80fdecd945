//! The order in which plugins are tried.

/// The rank of a format or a protocol: lower values are tried first, equal ones by name.
///
/// The constants are the bands of this workspace's plugins. A plugin that has to come before or after another one takes a
/// value between two bands: `Priority::new(Priority::SPECIFIC.value() + 1)`.
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

    /// A priority between the bands.
    #[must_use]
    pub const fn new(value: u32) -> Self {
        Self(value)
    }

    /// The number: lower ones are tried first.
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
    fn the_bands_are_in_order() {
        let bands = [
            Priority::FIRST,
            Priority::SPECIFIC,
            Priority::STANDARD,
            Priority::LAST,
        ];
        assert!(bands.is_sorted_by(|a, b| a < b));
        assert_eq!(Priority::default(), Priority::STANDARD);
        assert_eq!(Priority::new(Priority::SPECIFIC.value()), Priority::SPECIFIC);
    }
}
