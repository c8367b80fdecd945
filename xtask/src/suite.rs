//! Releases of Debian.

/// A release of Debian that packages are fetched from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Suite {
    /// Debian 13, whose kernel is the current one.
    Trixie,
    /// Debian 12, whose kernel is the previous one.
    Bookworm,
    /// Debian 11, whose kernel is the one before that.
    Bullseye,
}

impl Suite {
    /// The name in the archive.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Trixie => "trixie",
            Self::Bookworm => "bookworm",
            Self::Bullseye => "bullseye",
        }
    }

    /// The release's number, for file names.
    pub(crate) fn number(self) -> &'static str {
        match self {
            Self::Trixie => "13",
            Self::Bookworm => "12",
            Self::Bullseye => "11",
        }
    }
}
