//! Contents of the memory of sandboxes that many sandboxes share.

use guest_ram::{HostMapping, MappingError, Memfd, MemfdSharing};
use hv_core::DirtyPages;

use crate::memory_error::MemoryFileError;

/// Size of a page in bytes, of guest and host.
pub(crate) const PAGE: usize = 0x1000;

/// Contents of the memory of sandboxes, in a file that does not change. Each sandbox has a private mapping of it.
#[derive(Debug)]
pub(crate) struct Base {
    file: Memfd,
    /// The file, for reading.
    view: HostMapping,
    /// Pages that may have a byte that is not zero. The others take no memory, and are not read: that would allocate them.
    present: DirtyPages,
}

impl Base {
    /// Makes the contents of `file` final. No writable shared mapping of it exists.
    pub(crate) fn seal(file: Memfd, present: DirtyPages) -> Result<Self, MemoryFileError> {
        file.seal()?;
        let mut view = HostMapping::reserve(file.len())?;
        view.place_memfd(0..file.len(), &file, 0, MemfdSharing::SharedReadOnly)?;
        Ok(Self { file, view, present })
    }

    /// The file.
    pub(crate) fn file(&self) -> &Memfd {
        &self.file
    }

    /// Pages that may have a byte that is not zero.
    pub(crate) fn present(&self) -> &DirtyPages {
        &self.present
    }

    /// Reads page `page`.
    pub(crate) fn read(&self, page: usize, bytes: &mut [u8; PAGE]) -> Result<(), MappingError> {
        if self.present.contains(page) {
            self.view.read(page.saturating_mul(PAGE), bytes)
        } else {
            bytes.fill(0);
            Ok(())
        }
    }

    /// Copies page `page` to the same page of `memory`.
    pub(crate) fn copy(&self, page: usize, memory: &HostMapping) -> Result<(), MappingError> {
        let offset = page.saturating_mul(PAGE);
        if self.present.contains(page) {
            memory.copy_from(&self.view, offset, PAGE)
        } else {
            memory.zero(offset, PAGE)
        }
    }
}
