//! Guest memory that plans are loaded into.

use std::error::Error;
use std::fmt;
use std::os::fd::BorrowedFd;
use std::sync::Arc;

use boot_core::{
    Backing, ByteSource, GuestMemory, GuestRange, MemoryError, MemoryMap, ReadError, ReadErrorKind, arith,
};
use vm_memory::bitmap::{Bitmap, MS};
use vm_memory::{GuestAddress, GuestMemoryBackend, GuestMemoryMmap, GuestMemoryRegion, VolatileSlice};

use crate::pages::{self, ReadAtError};
use crate::split::Split;
use crate::{RamError, RamOptions, RamRegion};

/// How many bytes of a source that is neither memory nor a file are held at once.
const BUFFER: usize = 0x4_0000;

/// Guest memory over [`vm_memory`], for loading a [`BootPlan`](boot_core::BootPlan) and for running what was loaded.
///
/// Either mapped for a [`MemoryMap`] ([`new`](Self::new), [`RamOptions`]) or wrapped around the memory that a VMM has
/// already ([`from_memory`](Self::from_memory)). Clones share the memory. Everything that is written through it is
/// marked in the dirty bitmap `B`.
///
/// An access may span regions that are adjacent in guest physical memory. One that is not backed as a whole fails
/// before anything is written.
pub struct GuestRam<B: Bitmap = ()> {
    memory: Arc<GuestMemoryMmap<B>>,
    /// Whether every region is an anonymous private mapping that this crate made.
    own: bool,
    /// How large copies are divided among threads.
    pub(crate) split: Split,
}

impl GuestRam {
    /// Maps memory for `map` with the default [`RamOptions`] and without a dirty bitmap.
    ///
    /// # Errors
    ///
    /// As [`RamOptions::build`].
    pub fn new(map: &MemoryMap) -> Result<Self, RamError> {
        RamOptions::new().build(map)
    }
}

impl<B: Bitmap> GuestRam<B> {
    /// Wraps memory that exists already, of whatever kind: anonymous, shared, files, huge pages of the host.
    ///
    /// Nothing is known about such mappings, so [`zero`](GuestMemory::zero) always writes.
    #[must_use]
    pub fn from_memory(memory: Arc<GuestMemoryMmap<B>>) -> Self {
        Self {
            memory,
            own: false,
            split: Split::AUTOMATIC,
        }
    }

    /// Takes memory of which every region is an anonymous private mapping that nobody else has seen.
    pub(crate) fn from_own(memory: GuestMemoryMmap<B>, split: Split) -> Self {
        Self {
            memory: Arc::new(memory),
            own: true,
            split,
        }
    }

    /// The same memory, into which at most `most` threads copy at once, the calling one included. Clones of the value
    /// that this was called on keep their number.
    ///
    /// Copies of several MiB from memory and from files are worth more than one thread. By default there are as many
    /// as the process has CPUs, at most four. They live as long as the copy. Where the host refuses one, the copy goes
    /// on without it. What arrives, what is marked dirty and which error is returned never depend on their number.
    ///
    /// With 1, and with 0, which counts as 1, no thread is ever started and nothing is asked about CPUs. That is the
    /// choice for a process whose system call filter kills it for either, and for one that must not take more than
    /// one CPU from its neighbours.
    #[must_use]
    pub fn with_copy_threads(self, most: usize) -> Self {
        let split = self.split.with_threads(most);
        Self { split, ..self }
    }

    /// The memory itself, to be shared with devices.
    ///
    /// Where this crate mapped it, [`zero`](GuestMemory::zero) relies on its being what it is: a VMM that registers it
    /// with `userfaultfd` or maps something else over it wraps it anew with [`from_memory`](Self::from_memory).
    #[must_use]
    pub fn memory(&self) -> &Arc<GuestMemoryMmap<B>> {
        &self.memory
    }

    /// The regions, sorted by guest physical address, for the memory slots of a hypervisor.
    pub fn regions(&self) -> impl Iterator<Item = RamRegion> + '_
    where
        B: Send + Sync + 'static,
    {
        // No region reaches past the last address: vm-memory does not make such.
        self.memory.iter().filter_map(RamRegion::new)
    }

    fn check_all(&self, range: GuestRange) -> Result<(), MemoryError> {
        self.pieces(range).map(drop)
    }

    /// The pieces of `range`, which together are all of it, or an error where a byte is not backed.
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

    /// Calls `copy` for every part of `range`, with the number of bytes before it. Parts of memory that is not there
    /// yet are of moderate size, and their pages are provided first.
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
                // No file is longer than its offsets can say.
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
    fn split_file(&self, range: GuestRange, file: BorrowedFd<'_>, offset: u64) -> Result<(), MemoryError> {
        self.check_all(range)?;
        self.split.run(range, |chunk| {
            let before = chunk.start().saturating_sub(range.start());
            self.copy_from_file(chunk, file, offset.saturating_add(before))
        })
    }

    /// [`copy_from_bytes`](Self::copy_from_bytes) on several threads where that is faster.
    fn split_bytes(&self, range: GuestRange, bytes: &[u8]) -> Result<(), MemoryError> {
        self.check_all(range)?;
        self.split.run(range, |chunk| {
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

/// An error of the memory itself.
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
        self.split_bytes(span(addr, bytes.len())?, bytes)
    }

    /// Fills `range` with zeros: pages that are in memory are written, and in memory that this crate mapped, pages
    /// that are not are left to the host, which provides them zeroed.
    fn zero(&mut self, range: GuestRange) -> Result<(), MemoryError> {
        for piece in self.pieces(range)? {
            pages::zero(&piece, self.own).map_err(|error| access(range, error))?;
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

    /// Fills `range` with the bytes of `source` from `offset` on: bytes in memory are copied, files are read straight
    /// into guest memory, everything else goes through a buffer.
    ///
    /// A file that has become shorter is [`ReadErrorKind::Shrunk`]. Its cursor stays where it is.
    fn copy_from(
        &mut self,
        range: GuestRange,
        source: &dyn ByteSource,
        offset: u64,
    ) -> Result<(), MemoryError> {
        match source.backing() {
            Backing::Bytes(bytes) => {
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
                self.split_bytes(range, part)
            }
            Backing::File(file) => self.split_file(range, file, offset),
            _ => self.copy_from_any(range, source, offset),
        }
    }
}

impl<B: Bitmap> Clone for GuestRam<B> {
    fn clone(&self) -> Self {
        Self {
            memory: Arc::clone(&self.memory),
            own: self.own,
            split: self.split,
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
            .field("own", &self.own)
            .field("split", &self.split)
            .finish()
    }
}
