//! Memory of the host that guests share.

use std::sync::Arc;

use guest_ram::{HostMapping, MappingError, Memfd};

use crate::base::PAGE;
use crate::memory_error::MemoryFileError;

/// Memory of this process that [`Sandbox::map_region`](crate::Sandbox::map_region) maps into guests. Clones are the same memory.
///
/// Guests may change it at any time, so there are no references to it: every access is a copy. Offsets are bytes from its start.
///
/// ```
/// use sandbox::SharedRegion;
///
/// let region = SharedRegion::new(10_000)?;
/// assert_eq!(region.len(), 12_288);
/// region.write(8, b"input")?;
/// let mut bytes = [0; 5];
/// region.read(8, &mut bytes)?;
/// assert_eq!(&bytes, b"input");
/// // A number that host and guest access as a whole: a position in a ring, for example.
/// region.store_u64(0, 5)?;
/// assert_eq!(region.load_u64(0)?, 5);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct SharedRegion(Arc<HostMapping>);

impl SharedRegion {
    /// Zeros in `len` bytes, rounded up to a multiple of 4 KiB. A page takes memory from the first access on.
    ///
    /// # Errors
    ///
    /// [`MemoryFileError`], among others if `len` is 0.
    pub fn new(len: usize) -> Result<Self, MemoryFileError> {
        // A length that cannot be rounded up is refused below.
        let len = len.checked_next_multiple_of(PAGE).unwrap_or(usize::MAX);
        let file = Memfd::create(c"sandbox-region", len)?;
        Ok(Self(Arc::new(HostMapping::shared(&file)?)))
    }

    /// Length in bytes.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "it is never empty")]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Copies the bytes from `offset` on to `bytes`. If a guest writes them meanwhile, the copy is a mixture of old and new bytes.
    ///
    /// # Errors
    ///
    /// [`MappingError::NoAccess`] if the region has fewer bytes; nothing is read then.
    pub fn read(&self, offset: usize, bytes: &mut [u8]) -> Result<(), MappingError> {
        self.0.read(offset, bytes)
    }

    /// Copies `bytes` to the region from `offset` on.
    ///
    /// # Errors
    ///
    /// [`MappingError::NoAccess`] if the region has fewer bytes; nothing is written then.
    pub fn write(&self, offset: usize, bytes: &[u8]) -> Result<(), MappingError> {
        self.0.write(offset, bytes)
    }

    /// Reads the little-endian number at `offset`, a multiple of 8, in one access (`Ordering::Acquire`).
    ///
    /// # Errors
    ///
    /// [`MappingError::NoAccess`] if the region has fewer bytes; [`MappingError::Misaligned`].
    pub fn load_u64(&self, offset: usize) -> Result<u64, MappingError> {
        self.0.load_u64(offset).map(u64::from_le)
    }

    /// Writes a little-endian number at `offset`, a multiple of 8, in one access (`Ordering::Release`).
    ///
    /// # Errors
    ///
    /// As [`load_u64`](Self::load_u64).
    pub fn store_u64(&self, offset: usize, value: u64) -> Result<(), MappingError> {
        self.0.store_u64(offset, value.to_le())
    }

    pub(crate) fn memory(&self) -> &Arc<HostMapping> {
        &self.0
    }
}
