//! Guest memory that plans are loaded into.

use std::error::Error;
use std::fmt;
use std::os::fd::BorrowedFd;
use std::sync::Arc;

use boot_core::{
    BackingStore, ByteSource, GuestMemory, GuestRange, MemoryError, ReadError, ReadErrorKind, arith,
};
use vm_memory::bitmap::{Bitmap, MS};
use vm_memory::{GuestAddress, GuestMemoryBackend, GuestMemoryMmap, GuestMemoryRegion, VolatileSlice};

use crate::RamRegion;
use crate::pages::{self, ReadAtError};
use crate::parallel_copy::ParallelCopy;

/// Size in bytes of the buffer for a source that is neither memory nor a file.
const BUFFER: usize = 0x4_0000;

/// Guest memory over [`vm_memory`], for loading a [`BootPlan`](boot_core::BootPlan) and for the memory slots of a hypervisor.
///
/// [`new`](Self::new) and [`RamOptions`](crate::RamOptions) map memory for a [`MemoryMap`](boot_core::MemoryMap);
/// [`from_memory`](Self::from_memory) wraps existing memory of a VMM. Clones share the memory. `B` is the dirty bitmap, in which
/// writes through this type are marked: `AtomicBitmap` of vm-memory, or `()` for none.
///
/// An access may span regions that are adjacent in guest physical memory. If a part of its range has no memory, it fails
/// before anything is written.
pub struct GuestRam<B: Bitmap = ()> {
    memory: Arc<GuestMemoryMmap<B>>,
    /// Whether every region is an anonymous private mapping of this crate.
    has_own_mappings: bool,
    /// Threads for large copies.
    pub(crate) copy: ParallelCopy,
}

impl<B: Bitmap> GuestRam<B> {
    /// Wraps existing memory with mappings of any kind: anonymous, shared, of files or of huge pages.
    ///
    /// [`zero`](GuestMemory::zero) writes every byte of such mappings.
    #[must_use]
    pub fn from_memory(memory: Arc<GuestMemoryMmap<B>>) -> Self {
        Self {
            memory,
            has_own_mappings: false,
            copy: ParallelCopy::AUTOMATIC,
        }
    }

    /// Takes memory without other users, whose regions are all anonymous private mappings.
    pub(crate) fn from_own_mappings(memory: GuestMemoryMmap<B>, copy: ParallelCopy) -> Self {
        Self {
            memory: Arc::new(memory),
            has_own_mappings: true,
            copy,
        }
    }

    /// Sets the largest number of threads of a copy, the calling thread included. Existing clones keep their number.
    ///
    /// The default is the number of CPUs of the process, at most four. Only copies of several MiB from memory and from files
    /// use more than one thread.
    ///
    /// With 1 (or 0, which counts as 1) no thread is started and the number of CPUs is not read, for a process whose system
    /// call filter forbids either.
    #[must_use]
    pub fn with_copy_threads(self, max: usize) -> Self {
        let copy = self.copy.with_threads(max);
        Self { copy, ..self }
    }

    /// The memory itself, for devices.
    ///
    /// In mappings of this crate, [`zero`](GuestMemory::zero) discards pages that are not resident (`MADV_DONTNEED`). A VMM
    /// that registers the memory with `userfaultfd` or maps other memory over it must wrap the memory again with
    /// [`from_memory`](Self::from_memory).
    #[must_use]
    pub fn memory(&self) -> &Arc<GuestMemoryMmap<B>> {
        &self.memory
    }

    /// All regions, sorted by guest physical address, for the memory slots of a hypervisor.
    pub fn regions(&self) -> impl Iterator<Item = RamRegion> + '_
    where
        B: Send + Sync + 'static,
    {
        // vm-memory has no regions past the last address.
        self.memory.iter().filter_map(RamRegion::new)
    }

    fn check_all(&self, range: GuestRange) -> Result<(), MemoryError> {
        self.pieces(range).map(drop)
    }

    /// The pieces of `range` in order, or an error if a byte has no memory.
    fn pieces(
        &self,
        range: GuestRange,
    ) -> Result<impl Iterator<Item = VolatileSlice<'_, MS<'_, GuestMemoryMmap<B>>>>, MemoryError> {
        let len = usize::try_from(range.len()).ok();
        let len = len.filter(|&len| self.memory.check_range(GuestAddress(range.start()), len));
        let len = len.ok_or(MemoryError::NotBacked(range))?;
        // Every piece was there when the range was checked, and the set of regions never changes.
        Ok(self
            .memory
            .get_slices(GuestAddress(range.start()), len)
            .map_while(Result::ok))
    }

    /// Calls `copy` for every part of `range`, with the number of bytes before the part. Memory that is not resident is split
    /// into chunks, whose pages are populated before the call.
    fn for_each_part<F>(&self, range: GuestRange, mut copy: F) -> Result<(), MemoryError>
    where
        F: FnMut(&VolatileSlice<'_, MS<'_, GuestMemoryMmap<B>>>, usize) -> Result<(), MemoryError>,
    {
        let mut done = 0;
        for piece in self.pieces(range)? {
            let fresh = pages::begins_fresh(&piece).map_err(|error| access(range, error))?;
            let most = if fresh { pages::CHUNK } else { piece.len() };
            let mut rest = piece;
            while !rest.is_empty() {
                let (part, after) = rest
                    .split_at(rest.len().min(most))
                    .map_err(|error| access(range, error))?;
                if fresh {
                    pages::prefault(&part).map_err(|error| access(range, error))?;
                }
                copy(&part, done)?;
                done += part.len();
                rest = after;
            }
        }
        Ok(())
    }

    fn copy_from_file(
        &self,
        range: GuestRange,
        file: BorrowedFd<'_>,
        offset: u64,
    ) -> Result<(), MemoryError> {
        self.for_each_part(range, |part, done| {
            let at = offset.saturating_add(arith::to_u64(done));
            let failed = |kind| MemoryError::Source(ReadError::new(at, part.len(), kind));
            let max = libc::off_t::MAX;
            let Ok(position) = libc::off_t::try_from(at) else {
                // No file is longer than its largest offset.
                return Err(failed(ReadErrorKind::PastEnd(
                    u64::try_from(max).unwrap_or(u64::MAX),
                )));
            };
            pages::read_at(file, position, part).map_err(|error| match error {
                ReadAtError::Eof => failed(ReadErrorKind::Shrunk),
                ReadAtError::File(error) => failed(ReadErrorKind::Source(error.into())),
                ReadAtError::Memory(error) => access(range, error),
            })
        })
    }

    fn copy_from_bytes(&self, range: GuestRange, bytes: &[u8]) -> Result<(), MemoryError> {
        self.for_each_part(range, |part, done| {
            // `bytes` is as long as the range, so there is something for every part.
            part.copy_from(bytes.get(done..).unwrap_or_default());
            Ok(())
        })
    }

    fn copy_from_any(
        &self,
        range: GuestRange,
        source: &dyn ByteSource,
        offset: u64,
    ) -> Result<(), MemoryError> {
        let mut buffer = Vec::new();
        self.for_each_part(range, |part, done| {
            buffer.resize(part.len().min(BUFFER).max(buffer.len()), 0);
            let mut rest = part.clone();
            let mut at = offset.saturating_add(arith::to_u64(done));
            while !rest.is_empty() {
                let take = rest.len().min(buffer.len());
                let bytes = buffer.get_mut(..take).unwrap_or_default();
                source.read_exact_at(at, bytes)?;
                rest.copy_from(bytes);
                rest = rest.offset(take).map_err(|error| access(range, error))?;
                at = at.saturating_add(arith::to_u64(take));
            }
            Ok(())
        })
    }
}

impl<B: Bitmap + Send + Sync> GuestRam<B> {
    /// [`copy_from_file`](Self::copy_from_file) on several threads where that is faster.
    fn copy_from_file_parallel(
        &self,
        range: GuestRange,
        file: BorrowedFd<'_>,
        offset: u64,
    ) -> Result<(), MemoryError> {
        self.check_all(range)?;
        self.copy.run(range, |chunk| {
            let before = chunk.start().saturating_sub(range.start());
            self.copy_from_file(chunk, file, offset.saturating_add(before))
        })
    }

    /// [`copy_from_bytes`](Self::copy_from_bytes) on several threads where that is faster.
    fn copy_from_bytes_parallel(&self, range: GuestRange, bytes: &[u8]) -> Result<(), MemoryError> {
        self.check_all(range)?;
        self.copy.run(range, |chunk| {
            let before = usize::try_from(chunk.start().saturating_sub(range.start())).ok();
            // `bytes` is as long as the range, so there is something for every chunk.
            let rest = before.and_then(|before| bytes.get(before..));
            self.copy_from_bytes(chunk, rest.unwrap_or_default())
        })
    }
}

/// The range of `len` bytes at `addr`.
fn span(addr: u64, len: usize) -> Result<GuestRange, MemoryError> {
    let to_the_end = || GuestRange::from_bounds(addr, u64::MAX).unwrap_or(GuestRange::EMPTY);
    GuestRange::new(addr, arith::to_u64(len)).ok_or_else(|| MemoryError::NotBacked(to_the_end()))
}

/// An error of the memory.
fn access(range: GuestRange, source: impl Error + Send + Sync + 'static) -> MemoryError {
    MemoryError::Access {
        range,
        source: Box::new(source),
    }
}

impl<B: Bitmap + Send + Sync> GuestMemory for GuestRam<B> {
    fn check(&self, range: GuestRange) -> Result<(), MemoryError> {
        self.check_all(range)
    }

    fn write(&mut self, addr: u64, bytes: &[u8]) -> Result<(), MemoryError> {
        self.copy_from_bytes_parallel(span(addr, bytes.len())?, bytes)
    }

    /// Fills `range` with zeros. In large ranges of the crate's own mappings only resident pages are written: the host zeroes
    /// the others.
    fn zero(&mut self, range: GuestRange) -> Result<(), MemoryError> {
        for piece in self.pieces(range)? {
            pages::zero(&piece, self.has_own_mappings).map_err(|error| access(range, error))?;
        }
        Ok(())
    }

    fn read(&self, addr: u64, buf: &mut [u8]) -> Result<(), MemoryError> {
        let mut rest = buf;
        for piece in self.pieces(span(addr, rest.len())?)? {
            let copied = piece.copy_to(rest);
            rest = rest.get_mut(copied..).unwrap_or_default();
        }
        Ok(())
    }

    /// Fills `range` with the bytes of `source` from `offset` on: bytes in memory are copied, files are read into guest
    /// memory, other sources are copied through a buffer.
    ///
    /// The cursor of a file does not move. If the file became shorter, the error is [`ReadErrorKind::Shrunk`].
    fn copy_from(
        &mut self,
        range: GuestRange,
        source: &dyn ByteSource,
        offset: u64,
    ) -> Result<(), MemoryError> {
        match source.backing_store() {
            BackingStore::Bytes(bytes) => {
                let part = || {
                    let start = usize::try_from(offset).ok()?;
                    let len = usize::try_from(range.len()).ok()?;
                    bytes.get(start..start.checked_add(len)?)
                };
                let part = part().ok_or_else(|| {
                    let len = usize::try_from(range.len()).unwrap_or(usize::MAX);
                    let kind = ReadErrorKind::PastEnd(arith::to_u64(bytes.len()));
                    ReadError::new(offset, len, kind)
                })?;
                self.copy_from_bytes_parallel(range, part)
            }
            BackingStore::File(file) => self.copy_from_file_parallel(range, file, offset),
            _ => self.copy_from_any(range, source, offset),
        }
    }
}

impl<B: Bitmap> Clone for GuestRam<B> {
    fn clone(&self) -> Self {
        Self {
            memory: Arc::clone(&self.memory),
            has_own_mappings: self.has_own_mappings,
            copy: self.copy,
        }
    }
}

impl<B: Bitmap> fmt::Debug for GuestRam<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ranges = self
            .memory
            .iter()
            .filter_map(|region| GuestRange::new(region.start_addr().0, region.len()));
        f.debug_struct("GuestRam")
            .field("regions", &ranges.collect::<Vec<_>>())
            .field("has_own_mappings", &self.has_own_mappings)
            .field("copy", &self.copy)
            .finish()
    }
}
