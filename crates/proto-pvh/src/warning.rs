//! Requests that PVH allows but Linux, the most common guest, does not handle.

use core::fmt;

/// A request that PVH allows but Linux, the most common guest, does not handle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Warning {
    /// Linux copies the memory map into a table of fixed length without a check.
    MemoryMapTooLong {
        /// Number of regions.
        regions: usize,
        /// Length of the table.
        max: usize,
    },
    /// Linux truncates the command line.
    CmdlineTooLong {
        /// Length in bytes, without the terminating NUL.
        len: usize,
        /// Length that is kept.
        max: usize,
    },
    /// Linux takes the first module for its initrd.
    ModuleWithoutInitrd,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MemoryMapTooLong { regions, max } => write!(
                f,
                "the memory map has {regions} regions, but Linux started by PVH has room for {max} and does not check"
            ),
            Self::CmdlineTooLong { len, max } => write!(
                f,
                "the command line has {len} bytes, but Linux started by PVH keeps only the first {max}"
            ),
            Self::ModuleWithoutInitrd => f.write_str(
                "there are modules but no initrd: Linux started by PVH takes the first module for its initrd",
            ),
        }
    }
}
