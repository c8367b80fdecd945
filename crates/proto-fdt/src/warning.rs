//! Warnings of the device tree protocols.

use core::fmt;

/// A warning of the device tree protocols.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Warning {
    /// The kernel cannot use RAM below its base: it is an arm64 `Image` that must be near the start of RAM (bit 3 of its
    /// flags is clear), but there was no room for it there.
    UnusableRam {
        /// Lowest address that the kernel can use.
        below: u64,
    },
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnusableRam { below } => write!(
                f,
                "the kernel cannot use the RAM below {below:#x}: its Image must be near the start of RAM, but there is no room \
                 at a lower address"
            ),
        }
    }
}
