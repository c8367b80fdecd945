//! Warnings of the device tree protocols.

use core::fmt;

/// A warning of the device tree protocols.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Warning {
    /// An arm64 `Image` cannot use the RAM below its load address: bit 3 of its `flags` is clear, so it should be at the
    /// start of RAM, but there is no room.
    UnusableRam {
        /// The lowest address that the kernel can use.
        below: u64,
    },
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnusableRam { below } => write!(
                f,
                "the kernel cannot use the RAM below {below:#x}: it should be loaded at the start of RAM, but there is no room \
                 at a lower address"
            ),
        }
    }
}
