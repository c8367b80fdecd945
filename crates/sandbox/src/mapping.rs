//! Values that describe mapped files and regions.

use sandbox_abi::Shape;
use serde::{Serialize, Serializer};

/// A file or region that is mapped into a sandbox: [`Sandbox::map_file`](crate::Sandbox::map_file),
/// [`map_region`](crate::Sandbox::map_region).
///
/// It is a parameter of guest functions that have a `sandbox_guest::Region` in its place, or `(u64, u64)`: address and length.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Mapping {
    /// Different for all mappings of the process, so that a value never refers to a later mapping at the same address.
    pub(crate) id: u64,
    pub(crate) address: u64,
    pub(crate) len: u64,
}

impl Mapping {
    /// Guest virtual address of the first byte, which is also the physical one: a multiple of 2 MiB from [`layout::REGIONS`](sandbox_abi::layout::REGIONS) on.
    #[must_use]
    pub const fn address(&self) -> u64 {
        self.address
    }

    /// Length in bytes. In the last page, a file is followed by zeros.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "it is never empty")]
    pub const fn len(&self) -> u64 {
        self.len
    }
}

impl Shape for Mapping {
    const HASH: u64 = <(u64, u64) as Shape>::HASH;
}

impl Serialize for Mapping {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (self.address, self.len).serialize(serializer)
    }
}

/// Which part of a file is mapped, and what the guest may do with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct FileOptions {
    /// The guest may write; it gets copies of the pages that it writes, and the file never changes. Otherwise its writes are exceptions.
    pub copy_on_write: bool,
    /// Offset in the file of the first byte, a multiple of 4 KiB. The default is 0.
    pub offset: u64,
    /// Number of bytes, not 0 and up to the end of the file. The default is all of them.
    pub len: Option<u64>,
}

impl FileOptions {
    /// The whole file, for reading.
    #[must_use]
    pub const fn read_only() -> Self {
        Self {
            copy_on_write: false,
            offset: 0,
            len: None,
        }
    }

    /// The whole file, for reading and for writing to copies of its pages.
    #[must_use]
    pub const fn copy_on_write() -> Self {
        Self {
            copy_on_write: true,
            ..Self::read_only()
        }
    }

    /// Sets the offset in the file of the first byte, a multiple of 4 KiB.
    #[must_use]
    pub const fn with_offset(mut self, offset: u64) -> Self {
        self.offset = offset;
        self
    }

    /// Sets the number of bytes.
    #[must_use]
    pub const fn with_len(mut self, bytes: u64) -> Self {
        self.len = Some(bytes);
        self
    }
}

/// What a guest may do with a [`SharedRegion`](crate::SharedRegion).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RegionAccess {
    /// Reads; its writes are exceptions.
    ReadOnly,
    /// Reads and writes.
    ReadWrite,
}
