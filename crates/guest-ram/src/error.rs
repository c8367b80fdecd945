//! Why guest memory cannot be had.

use boot_core::GuestRange;
use vm_memory::mmap::MmapRegionError;
use vm_memory::{GuestRegionCollectionError, VolatileMemoryError};

/// Why the memory of a machine cannot be mapped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RamError {
    /// The memory map has no region that memory of the host could stand behind.
    #[error("the memory map has no RAM")]
    NoRam,
    /// A region of RAM cannot be widened to pages of the host, or is larger than the host's address space.
    #[error("the RAM at {0} does not fit this host's address space")]
    TooLarge(GuestRange),
    /// The host has no room for a region.
    #[error("the host cannot map memory for the RAM at {range}")]
    Map {
        /// The region.
        range: GuestRange,
        /// What the host says.
        source: MmapRegionError,
    },
    /// The regions cannot stand beside each other.
    #[error("the mapped regions cannot be put together")]
    Regions(#[from] GuestRegionCollectionError),
    /// The host's advice call failed where it was not only advice.
    #[error(
        "the host cannot provide the RAM at {range} up front; this needs Linux 5.14 and as much free memory"
    )]
    Populate {
        /// The region.
        range: GuestRange,
        /// What the host says.
        source: std::io::Error,
    },
    /// The mapping is not as long as it was asked to be.
    #[error("the mapping for the RAM at {range} cannot be used")]
    Mapping {
        /// The region.
        range: GuestRange,
        /// What vm-memory says.
        source: VolatileMemoryError,
    },
}
