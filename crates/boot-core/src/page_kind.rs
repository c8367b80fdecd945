//! The part of pages in the measurement of a confidential guest.

use core::fmt;

/// How the pages of a load take part in the measurement of a confidential guest's launch.
///
/// A VMM for ordinary guests can ignore it: all kinds but [`PageKind::MEASURED`] are set by a protocol or a caller that asks for
/// them. The set is open: the constants are the kinds that the launch of SEV-SNP, TDX and IGVM files have in common, and other
/// crates define theirs with [`new`](Self::new). Kinds are equal if their names are.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct PageKind(&'static str);

impl PageKind {
    /// Private memory of the guest whose address and content are measured: the default.
    pub const MEASURED: Self = Self::new("measured");
    /// Private memory whose address is measured, but not its content (SEV-SNP: `PAGE_TYPE_UNMEASURED`).
    pub const UNMEASURED: Self = Self::new("unmeasured");
    /// The page that the security processor fills with secrets of the guest (SEV-SNP: `PAGE_TYPE_SECRETS`).
    pub const SECRETS: Self = Self::new("secrets");
    /// The page with the results of CPUID, which the security processor checks (SEV-SNP: `PAGE_TYPE_CPUID`).
    pub const CPUID: Self = Self::new("cpuid");
    /// Memory that the guest shares with the VMM: neither encrypted nor measured.
    pub const SHARED: Self = Self::new("shared");

    /// The kind with this name: lower case, at most 255 bytes, unique among the kinds in use.
    #[must_use]
    pub const fn new(name: &'static str) -> Self {
        Self(name)
    }

    /// The name, as in machine-readable output.
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.0
    }

    /// Whether this is [`PageKind::MEASURED`].
    #[must_use]
    pub fn is_measured(&self) -> bool {
        *self == Self::MEASURED
    }
}

impl Default for PageKind {
    fn default() -> Self {
        Self::MEASURED
    }
}

impl fmt::Display for PageKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl fmt::Debug for PageKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PageKind({})", self.name())
    }
}

#[cfg(test)]
mod tests {
    use std::format;

    use super::*;

    #[test]
    fn kinds_are_their_names() {
        let names = [
            PageKind::MEASURED,
            PageKind::UNMEASURED,
            PageKind::SECRETS,
            PageKind::CPUID,
            PageKind::SHARED,
        ]
        .map(PageKind::name);
        assert_eq!(names, ["measured", "unmeasured", "secrets", "cpuid", "shared"]);
        assert_eq!(PageKind::new("measured"), PageKind::default());
        assert!(PageKind::default().is_measured() && !PageKind::SHARED.is_measured());
        assert_eq!(
            format!("{:>7} {:?}", PageKind::CPUID, PageKind::CPUID),
            "  cpuid PageKind(cpuid)"
        );
    }
}
