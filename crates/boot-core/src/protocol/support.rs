//! How well a protocol suits an image.

use core::fmt;

/// How well a protocol suits an image that it can start: the result of
/// [`BootProtocol::supports`](crate::BootProtocol::supports). `Display` is the level and the reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Support {
    /// The level. [`select`](super::select) prefers higher levels.
    pub level: SupportLevel,
    /// The property of the image that determines the level. "It" is the image: "it has a PVH entry note".
    pub reason: &'static str,
}

impl Support {
    /// Support with this level and reason.
    #[must_use]
    pub const fn new(level: SupportLevel, reason: &'static str) -> Self {
        Self { level, reason }
    }

    /// [`SupportLevel::Declared`].
    #[must_use]
    pub const fn declared(reason: &'static str) -> Self {
        Self::new(SupportLevel::Declared, reason)
    }

    /// [`SupportLevel::Indicated`].
    #[must_use]
    pub const fn indicated(reason: &'static str) -> Self {
        Self::new(SupportLevel::Indicated, reason)
    }

    /// [`SupportLevel::Possible`].
    #[must_use]
    pub const fn possible(reason: &'static str) -> Self {
        Self::new(SupportLevel::Possible, reason)
    }

    /// [`SupportLevel::Contradicted`].
    #[must_use]
    pub const fn contradicted(reason: &'static str) -> Self {
        Self::new(SupportLevel::Contradicted, reason)
    }
}

impl fmt::Display for Support {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.level, self.reason)
    }
}

/// Evidence in an image for or against a protocol. Higher levels are greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SupportLevel {
    /// The image has marks of another kind of program. The protocol starts it only if the caller chooses the protocol;
    /// [`select`](super::select) does not.
    Contradicted,
    /// The image has an entry point that the protocol can call, and no mark of what it is.
    Possible,
    /// The image does not declare the protocol, but has marks of the kernels that the protocol starts.
    Indicated,
    /// The image declares the protocol: by a header, a note, or its format.
    Declared,
}

impl SupportLevel {
    /// The name, as in machine-readable output: lower case.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Contradicted => "contradicted",
            Self::Possible => "possible",
            Self::Indicated => "indicated",
            Self::Declared => "declared",
        }
    }
}

impl fmt::Display for SupportLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

#[cfg(test)]
mod tests {
    use std::string::ToString;

    use super::*;

    #[test]
    fn levels_are_in_the_order_of_their_evidence() {
        let all = [
            Support::contradicted("a"),
            Support::possible("b"),
            Support::indicated("c"),
            Support::declared("d"),
        ];
        assert!(all.is_sorted_by(|a, b| a.level < b.level));
        let texts = all.map(|support| support.to_string());
        assert_eq!(
            texts,
            ["contradicted: a", "possible: b", "indicated: c", "declared: d"]
        );
    }
}
