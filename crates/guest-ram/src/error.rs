//! Errors of mapping guest memory.

use boot_core::GuestRange;
use vm_memory::mmap::MmapRegionError;
use vm_memory::{GuestRegionCollectionError, VolatileMemoryError};

/// Why the memory of a machine cannot be mapped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RamError {
    /// The memory map has no region that is backed by host memory.
    #[error("the memory map has no RAM")]
    NoRam,
    /// A region of RAM cannot be widened to pages of the host, or is larger than the host's address space.
    #[error("the RAM at {0} does not fit this host's address space")]
    TooLarge(GuestRange),
    /// The host cannot map a region.
    #[error("the host cannot map memory for the RAM at {range}")]
    Map {
        /// The region.
        range: GuestRange,
        /// The error of the host.
        source: MmapRegionError,
    },
    /// The regions do not form a valid guest memory.
    #[error("the mapped regions do not form a guest memory")]
    Regions(#[from] GuestRegionCollectionError),
    /// The host cannot populate a region.
    #[error(
        "the host cannot provide the RAM at {range} up front; this needs Linux 5.14 and as much free memory"
    )]
    Populate {
        /// The region.
        range: GuestRange,
        /// The error of the host.
        source: std::io::Error,
    },
    /// The mapping is shorter than requested.
    #[error("the mapping for the RAM at {range} cannot be used")]
    Mapping {
        /// The region.
        range: GuestRange,
        /// The error of vm-memory.
        source: VolatileMemoryError,
    },
}
