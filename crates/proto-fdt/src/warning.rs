//! Findings about a boot by device tree that do not stop it.

use core::fmt;

/// A finding about a boot by device tree that does not stop it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Warning {
    /// The arm64 `Image` has to be near the start of RAM ("placed anywhere" is clear), but lies higher: the kernel does
    /// not use the RAM below it.
    UnusableRam {
        /// Lowest address that the kernel uses.
        floor: u64,
    },
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnusableRam { floor } => write!(
                f,
                "the kernel cannot use the RAM below {floor:#x}: its Image must be near the start of RAM, and this is the lowest free \
                 place"
            ),
        }
    }
}
