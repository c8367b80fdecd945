//! Accesses to guest memory, whatever it consists of.

use std::error::Error;
use std::os::fd::BorrowedFd;

use boot_core::{BackingStore, ByteSource, GuestRange, MemoryError, ReadError, ReadErrorKind, arith};

use crate::access_options::AccessOptions;
use crate::pages::missing::{NewPages, Source};
use crate::pages::{self, ReadAtError};
use crate::slice::HostSlice;

/// Size in bytes of the buffer for a source that is neither memory nor a file.
const BUFFER: usize = 0x4_0000;

/// Guest memory with host addresses.
pub(crate) trait Backend: Sync {
    /// A contiguous piece of it.
    type Slice<'a>: HostSlice
    where
        Self: 'a;

    /// The pieces of `range` in order, together as long as the range; `None` if a byte has no memory.
    fn pieces(&self, range: GuestRange) -> Option<impl Iterator<Item = Self::Slice<'_>>>;
}

/// Guest memory, and how to access it.
pub(crate) struct Access<'a, M> {
    pub(crate) memory: &'a M,
    pub(crate) options: AccessOptions,
}

impl<M: Backend> Access<'_, M> {
    pub(crate) fn check(&self, range: GuestRange) -> Result<(), MemoryError> {
        self.pieces(range).map(drop)
    }

    /// The pieces of `range` in order, or an error if a byte has no memory.
    fn pieces(&self, range: GuestRange) -> Result<impl Iterator<Item = M::Slice<'_>>, MemoryError> {
        self.memory.pieces(range).ok_or(MemoryError::NotBacked(range))
    }

    /// Calls `access` for every piece of `range`, with the number of bytes before the piece.
    fn for_each_piece<F>(&self, range: GuestRange, mut access: F) -> Result<(), MemoryError>
    where
        F: FnMut(&M::Slice<'_>, usize) -> Result<(), MemoryError>,
    {
        let mut done = 0;
        for piece in self.pieces(range)? {
            access(&piece, done)?;
            done += piece.len();
        }
        // A backend that returns other pieces than it was asked for must not leave a part of the range unwritten unnoticed.
        if arith::to_u64(done) == range.len() {
            Ok(())
        } else {
            Err(MemoryError::NotBacked(range))
        }
    }

    /// Prepares a copy of `source` to all of `range` that makes its pages. `None` where an ordinary copy is as good.
    fn new_pages<'s>(
        &self,
        range: GuestRange,
        source: Source<'s>,
    ) -> Result<Option<NewPages<'s>>, MemoryError> {
        if !self.options.uses_userfaultfd() {
            return Ok(None);
        }
        let mut pieces = self.pieces(range)?;
        match (pieces.next(), pieces.next()) {
            (Some(piece), None) => {
                NewPages::prepare(&piece, range, source).map_err(|error| failed(range, error))
            }
            _ => Ok(None),
        }
    }

    /// Calls `copy` for every part of `range`, with the number of bytes before the part. Memory that is not resident is split
    /// into chunks, whose pages are populated before the call, or made with their bytes by `new_pages`.
    fn for_each_part<F>(
        &self,
        range: GuestRange,
        new_pages: Option<&NewPages<'_>>,
        mut copy: F,
    ) -> Result<(), MemoryError>
    where
        F: FnMut(&M::Slice<'_>, usize) -> Result<(), MemoryError>,
    {
        if let Some(new_pages) = new_pages {
            return self.make_pages(range, new_pages, copy);
        }
        let inner = |error| failed(range, error);
        self.for_each_piece(range, |piece, before| {
            if !self.options.calls_about_pages() || !pages::begins_fresh(piece).map_err(inner)? {
                return copy(piece, before);
            }
            let mut done = 0;
            while done < piece.len() {
                let len = (piece.len() - done).min(pages::CHUNK);
                let part = piece.subslice(done, len).map_err(inner)?;
                pages::prefault(&part).map_err(inner)?;
                copy(&part, before + done)?;
                done += len;
            }
            Ok(())
        })
    }

    /// Makes the pages of `range`, and calls `copy` for every part that is left, with the number of bytes before it.
    fn make_pages<F>(
        &self,
        range: GuestRange,
        new_pages: &NewPages<'_>,
        mut copy: F,
    ) -> Result<(), MemoryError>
    where
        F: FnMut(&M::Slice<'_>, usize) -> Result<(), MemoryError>,
    {
        let inner = |error| failed(range, error);
        let offset = new_pages.offset(range);
        self.for_each_piece(range, |piece, before| {
            let mut done = 0;
            while done < piece.len() {
                let (_, rest) = piece.split_at(done).map_err(inner)?;
                let part = rest.subslice(0, pages::missing::part_len(&rest)).map_err(inner)?;
                let at = before + done;
                let left = new_pages.fill(&part, offset.saturating_add(at));
                for left in left.map_err(|error| failed(range, error))? {
                    let rest = part.subslice(left.start, left.len()).map_err(inner)?;
                    copy(&rest, at + left.start)?;
                }
                done += part.len();
            }
            Ok(())
        })
    }

    /// Fills `range` with zeros.
    ///
    /// `is_anonymous` is false if files are mapped in the range: dropped pages would have their bytes.
    pub(crate) fn zero(&self, range: GuestRange, is_anonymous: bool) -> Result<(), MemoryError> {
        let discard = is_anonymous && self.options.discards();
        self.for_each_piece(range, |piece, _| {
            pages::zero(piece, discard).map_err(|error| failed(range, error))
        })
    }

    pub(crate) fn write(&self, addr: u64, bytes: &[u8]) -> Result<(), MemoryError> {
        self.copy_from_bytes(span(addr, bytes.len())?, bytes)
    }

    pub(crate) fn read(&self, addr: u64, buf: &mut [u8]) -> Result<(), MemoryError> {
        let mut rest = buf;
        self.for_each_piece(span(addr, rest.len())?, |piece, _| {
            let copied = pages::read(piece, rest);
            rest = std::mem::take(&mut rest).get_mut(copied..).unwrap_or_default();
            Ok(())
        })
    }

    /// Fills `range` with the bytes of `source` from `offset` on.
    pub(crate) fn copy_from(
        &self,
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
                self.copy_from_bytes(range, part)
            }
            BackingStore::File(file) => {
                self.check(range)?;
                let new_pages = self.new_pages(range, Source::File(file, offset))?;
                self.options.run(range, |chunk| {
                    let before = chunk.start().saturating_sub(range.start());
                    self.copy_file_chunk(chunk, file, offset.saturating_add(before), new_pages.as_ref())
                })
            }
            _ => self.copy_from_any(range, source, offset),
        }
    }

    fn copy_file_chunk(
        &self,
        range: GuestRange,
        file: BorrowedFd<'_>,
        offset: u64,
        new_pages: Option<&NewPages<'_>>,
    ) -> Result<(), MemoryError> {
        self.for_each_part(range, new_pages, |part, done| {
            let at = offset.saturating_add(arith::to_u64(done));
            let source_failed = |kind| MemoryError::Source(ReadError::new(at, part.len(), kind));
            let max = libc::off_t::MAX;
            let Ok(position) = libc::off_t::try_from(at) else {
                // No file is longer than its largest offset.
                return Err(source_failed(ReadErrorKind::PastEnd(
                    u64::try_from(max).unwrap_or(u64::MAX),
                )));
            };
            pages::read_at(file, position, part).map_err(|error| match error {
                ReadAtError::Eof => source_failed(ReadErrorKind::Shrunk),
                ReadAtError::File(error) => source_failed(ReadErrorKind::Source(error.into())),
                ReadAtError::Memory(error) => failed(range, error),
            })
        })
    }

    /// Writes `bytes`, as many as `range` has.
    fn copy_from_bytes(&self, range: GuestRange, bytes: &[u8]) -> Result<(), MemoryError> {
        self.check(range)?;
        let new_pages = self.new_pages(range, Source::Bytes(bytes))?;
        self.options.run(range, |chunk| {
            let before = usize::try_from(chunk.start().saturating_sub(range.start())).ok();
            // `bytes` is as long as the range, so there is something for every chunk and part.
            let bytes = before.and_then(|before| bytes.get(before..)).unwrap_or_default();
            self.for_each_part(chunk, new_pages.as_ref(), |part, done| {
                pages::write(part, bytes.get(done..).unwrap_or_default());
                Ok(())
            })
        })
    }

    fn copy_from_any(
        &self,
        range: GuestRange,
        source: &dyn ByteSource,
        offset: u64,
    ) -> Result<(), MemoryError> {
        let mut buffer = Vec::new();
        self.for_each_part(range, None, |part, before| {
            buffer.resize(part.len().min(BUFFER).max(buffer.len()), 0);
            let mut done = 0;
            while done < part.len() {
                let take = (part.len() - done).min(buffer.len());
                let bytes = buffer.get_mut(..take).unwrap_or_default();
                source.read_exact_at(offset.saturating_add(arith::to_u64(before + done)), bytes)?;
                let target = part.subslice(done, take).map_err(|error| failed(range, error))?;
                pages::write(&target, bytes);
                done += take;
            }
            Ok(())
        })
    }
}

/// The range of `len` bytes at `addr`.
fn span(addr: u64, len: usize) -> Result<GuestRange, MemoryError> {
    let to_the_end = || GuestRange::from_bounds(addr, u64::MAX).unwrap_or(GuestRange::EMPTY);
    GuestRange::new(addr, arith::to_u64(len)).ok_or_else(|| MemoryError::NotBacked(to_the_end()))
}

/// An error of the memory.
pub(crate) fn failed(range: GuestRange, source: impl Error + Send + Sync + 'static) -> MemoryError {
    MemoryError::Access {
        range,
        source: Box::new(source),
    }
}
