//! Errors of mapping guest memory.

use boot_core::{ByteCount, GuestRange};
use vm_memory::mmap::MmapRegionError;
use vm_memory::{GuestRegionCollectionError, VolatileMemoryError};

/// The memory of a machine cannot be mapped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RamError {
    /// The memory map has no region of RAM or ACPI tables.
    #[error("the memory map has no RAM")]
    NoRam,
    /// A region of RAM is too large for the address space of the host, or its last page ends past the last address.
    #[error("the RAM at {0} does not fit this host's address space")]
    TooLarge(GuestRange),
    /// The host cannot map a region.
    #[error("the host cannot map {} of memory for the RAM at {range}", ByteCount(.range.len()))]
    Map {
        /// The region.
        range: GuestRange,
        /// The error of the host.
        source: MmapRegionError,
    },
    /// vm-memory rejects the regions.
    #[error("vm-memory rejects the regions of RAM")]
    Regions(#[from] GuestRegionCollectionError),
    /// The host cannot populate a region.
    #[error("the host cannot populate the RAM at {range}, which requires Linux 5.14 and enough free memory")]
    Populate {
        /// The region.
        range: GuestRange,
        /// The error of the host.
        source: std::io::Error,
    },
    /// vm-memory cannot access all of the mapping of a region.
    #[error("the host mapped less memory than the RAM at {range}")]
    Mapping {
        /// The region.
        range: GuestRange,
        /// The error of vm-memory.
        source: VolatileMemoryError,
    },
}
