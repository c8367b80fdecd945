//! Contents of the memory of sandboxes that many sandboxes share.

use std::sync::Arc;

use guest_ram::{HostMapping, MappingError, Memfd, MemfdSharing};
use hv_core::DirtyPages;

use crate::memory_error::MemoryFileError;

/// Size of a page in bytes, of guest and host.
pub(crate) const PAGE: usize = 0x1000;

/// What follows the memory: the outbox, which is zeros, and the page tables at the entry.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Exchange {
    /// Length of the outbox in bytes.
    pub(crate) outbox_len: usize,
    /// The page tables.
    pub(crate) tables: Vec<u8>,
}

impl Exchange {
    /// A file of zeros for `memory_len` bytes of memory, and behind them outbox and page tables.
    pub(crate) fn file(&self, memory_len: usize) -> Result<Memfd, MemoryFileError> {
        let len = memory_len
            .saturating_add(self.outbox_len)
            .saturating_add(self.tables.len());
        Ok(Memfd::create(c"sandbox-memory", len)?)
    }
}

/// Contents of the memory of sandboxes, in a file that does not change. Each sandbox has a private mapping of it.
///
/// Outbox and page tables follow the memory in the file, so that a sandbox needs one mapping for all that its guest can write: mappings take a
/// large part of the time in which a sandbox is created, and each one makes the creation of all later machines of the process longer.
#[derive(Debug)]
pub(crate) struct Base {
    file: Memfd,
    exchange: Arc<Exchange>,
    /// The file, for reading.
    view: HostMapping,
    /// Pages that may have a byte that is not zero. The others take no memory, and are not read: that would allocate them.
    present: DirtyPages,
}

impl Base {
    /// Makes the contents of `file`, with `exchange` behind the memory, final. No writable shared mapping of it exists.
    pub(crate) fn seal(
        file: Memfd,
        present: DirtyPages,
        exchange: Arc<Exchange>,
    ) -> Result<Self, MemoryFileError> {
        file.seal()?;
        let mut view = HostMapping::reserve(file.len())?;
        view.place_memfd(0..file.len(), &file, 0, MemfdSharing::SharedReadOnly)?;
        Ok(Self {
            file,
            exchange,
            view,
            present,
        })
    }

    /// A new file with the same exchange, and memory of zeros.
    pub(crate) fn empty_file(&self) -> Result<(Memfd, HostMapping), MemoryFileError> {
        let memory_len = self.present.pages().saturating_mul(PAGE);
        let file = self.exchange.file(memory_len)?;
        let memory = HostMapping::shared(&file)?;
        let tables = memory_len.saturating_add(self.exchange.outbox_len);
        memory.write(tables, &self.exchange.tables)?;
        Ok((file, memory))
    }

    /// What follows the memory.
    pub(crate) fn exchange(&self) -> &Arc<Exchange> {
        &self.exchange
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
