//! Blocks that a guest wrote, in memory.

use std::collections::BTreeMap;
use std::fmt;

use boot_core::{ByteSource, GuestMemory as _, GuestRange, MemoryError, ReadError};
use guest_ram::GuestRam;

/// Size of a copied piece of the disk in bytes.
const PAGE: u64 = 4096;
/// The same as a length.
const PAGE_LEN: usize = 4096;

/// Why a write cannot be kept.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OverlayError {
    /// The copies have their largest size.
    #[error("the guest wrote more than {limit} bytes, the limit of the disk")]
    Full {
        /// Largest size in bytes.
        limit: u64,
    },
    /// The rest of the block cannot be read.
    #[error(transparent)]
    Source(#[from] ReadError),
    /// The data of the guest cannot be read.
    #[error(transparent)]
    Memory(#[from] MemoryError),
}

/// Copies of the pieces of a disk that a guest wrote.
pub(crate) struct Overlay {
    /// By number.
    pages: BTreeMap<u64, Box<[u8; PAGE_LEN]>>,
    limit: u64,
}

/// A part of one page.
struct Part {
    page: u64,
    /// Offset in the page.
    start: usize,
    len: usize,
}

impl Part {
    /// The part of the page of `offset` from there on, at most `len` bytes.
    fn at(offset: u64, len: u64) -> Self {
        let start = offset % PAGE;
        let len = len.min(PAGE.saturating_sub(start));
        Self {
            page: offset / PAGE,
            start: usize::try_from(start).unwrap_or_default(),
            len: usize::try_from(len).unwrap_or_default(),
        }
    }

    fn end(&self) -> usize {
        self.start.saturating_add(self.len)
    }
}

impl Overlay {
    pub(crate) fn new(limit: u64) -> Self {
        Self {
            pages: BTreeMap::new(),
            limit,
        }
    }

    /// Reads the bytes from `offset` on into `range`: from copies, the rest from `source`.
    pub(crate) fn read(
        &self,
        source: &dyn ByteSource,
        ram: &mut GuestRam,
        mut offset: u64,
        range: GuestRange,
    ) -> Result<(), MemoryError> {
        let mut addr = range.start();
        while addr < range.end() {
            let rest = range.end().saturating_sub(addr);
            let part = Part::at(offset, rest);
            let len = if let Some(page) = self.pages.get(&part.page) {
                let bytes = page.get(part.start..part.end()).unwrap_or_default();
                ram.write(addr, bytes)?;
                u64::try_from(part.len).unwrap_or(u64::MAX)
            } else {
                // Up to the next copy, in one transfer.
                let next = self.pages.range(part.page..).next();
                let end = next.map_or(u64::MAX, |(page, _)| page.saturating_mul(PAGE));
                let len = rest.min(end.saturating_sub(offset));
                let piece = GuestRange::new(addr, len).unwrap_or(GuestRange::EMPTY);
                ram.copy_from(piece, source, offset)?;
                len
            };
            addr = addr.saturating_add(len);
            offset = offset.saturating_add(len);
        }
        Ok(())
    }

    /// Writes the bytes of `range` from `offset` on to copies. `disk_len` is the length of the disk.
    pub(crate) fn write(
        &mut self,
        source: &dyn ByteSource,
        disk_len: u64,
        ram: &GuestRam,
        mut offset: u64,
        range: GuestRange,
    ) -> Result<(), OverlayError> {
        let mut addr = range.start();
        let mut data = [0; PAGE_LEN];
        while addr < range.end() {
            let part = Part::at(offset, range.end().saturating_sub(addr));
            let len = u64::try_from(part.len).unwrap_or(u64::MAX);
            // First, so that a failure leaves no page without its data.
            let data = data.get_mut(..part.len).unwrap_or_default();
            ram.read(addr, data)?;
            let page = self.page(source, disk_len, &part)?;
            if let Some(bytes) = page.get_mut(part.start..part.end()) {
                bytes.copy_from_slice(data);
            }
            addr = addr.saturating_add(len);
            offset = offset.saturating_add(len);
        }
        Ok(())
    }

    /// The copy of the page of `part`. A new one has the content of the source, unless `part` is all of it.
    fn page(
        &mut self,
        source: &dyn ByteSource,
        disk_len: u64,
        part: &Part,
    ) -> Result<&mut [u8; PAGE_LEN], OverlayError> {
        let count = u64::try_from(self.pages.len()).unwrap_or(u64::MAX);
        match self.pages.entry(part.page) {
            std::collections::btree_map::Entry::Occupied(page) => Ok(page.into_mut()),
            std::collections::btree_map::Entry::Vacant(place) => {
                if count.saturating_add(1).saturating_mul(PAGE) > self.limit {
                    return Err(OverlayError::Full { limit: self.limit });
                }
                let mut bytes = Box::new([0; PAGE_LEN]);
                if part.len < PAGE_LEN {
                    let start = part.page.saturating_mul(PAGE);
                    // The last page of a disk can be shorter.
                    let len = PAGE.min(disk_len.saturating_sub(start));
                    let len = usize::try_from(len).unwrap_or_default();
                    source.read_exact_at(start, bytes.get_mut(..len).unwrap_or_default())?;
                }
                Ok(place.insert(bytes))
            }
        }
    }
}

impl fmt::Debug for Overlay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Overlay")
            .field("pages", &self.pages.len())
            .field("limit", &self.limit)
            .finish()
    }
}
