//! Warnings of the PVH protocol.

use core::fmt;

/// The request has something that PVH allows but Linux does not support. Other guests may support it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Warning {
    /// The memory map has more regions than Linux has room for. Linux does not check their number, and overwrites memory.
    TooManyRegions {
        /// Number of regions.
        regions: usize,
        /// Number of regions that Linux has room for.
        max: usize,
    },
    /// The command line is longer than that of Linux, which truncates it.
    CmdlineTruncated {
        /// Length in bytes, without the terminating NUL.
        len: usize,
        /// Length in bytes that Linux keeps.
        max: usize,
    },
    /// The request has modules but no initrd: Linux uses the first module as its initrd.
    ModuleAsInitrd,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooManyRegions { regions, max } => write!(
                f,
                "the memory map has {regions} regions, but Linux has room for {max} at its PVH entry point and does not \
                 check their number"
            ),
            Self::CmdlineTruncated { len, max } => write!(
                f,
                "the command line has {len} bytes, but Linux keeps only the first {max} at its PVH entry point"
            ),
            Self::ModuleAsInitrd => f.write_str(
                "the request has modules but no initrd: Linux uses the first module as its initrd",
            ),
        }
    }
}
