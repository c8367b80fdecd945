//! Sources of copies, at addresses of this process.
#![expect(unsafe_code, reason = "maps files at addresses of this process")]

use std::io;
use std::ops::Range;
use std::os::fd::{AsRawFd as _, BorrowedFd};
use std::ptr;

use boot_core::arith::to_u64;

use crate::pages::{regular_file, size};

/// Where the bytes of a copy are.
#[derive(Clone, Copy)]
pub(crate) enum Source<'a> {
    /// In memory.
    Bytes(&'a [u8]),
    /// In a file, from the offset on.
    File(BorrowedFd<'a>, u64),
}

/// A source at addresses of this process, where only the kernel reads it.
pub(super) enum MappedSource<'a> {
    Bytes(&'a [u8]),
    File(MappedFile<'a>),
}

impl<'a> MappedSource<'a> {
    /// The first `len` bytes of `source`; `None` if it has fewer, or cannot be mapped.
    pub(super) fn of(source: Source<'a>, len: usize) -> Option<Self> {
        match source {
            Source::Bytes(bytes) => bytes.get(..len).map(Self::Bytes),
            Source::File(file, offset) => MappedFile::new(file, offset, len).map(Self::File),
        }
    }

    /// Address of `len` bytes from `at` on; `None` if the source does not have them.
    pub(super) fn address(&self, at: usize, len: usize) -> Option<usize> {
        match self {
            Self::Bytes(bytes) => {
                let part = bytes.get(at..at.checked_add(len)?)?;
                Some(part.as_ptr().expose_provenance())
            }
            Self::File(file) => file.address(at, len),
        }
    }

    /// Makes sure that `len` bytes from `at` on can be read at their addresses; false if they are gone.
    pub(super) fn populate(&self, at: usize, len: usize) -> bool {
        match self {
            Self::Bytes(_) => true,
            Self::File(file) => file.populate(at, len).is_ok(),
        }
    }

    /// Whether the source still has its first `len` bytes.
    pub(super) fn has(&self, len: usize) -> bool {
        match self {
            Self::Bytes(_) => true,
            Self::File(file) => regular_file::len(file.file).is_some_and(|found| found >= file.end_of(len)),
        }
    }
}

/// A part of a file, mapped for reading.
pub(super) struct MappedFile<'a> {
    file: BorrowedFd<'a>,
    /// Offset of the part in the file.
    offset: u64,
    /// Addresses of the mapping, whole pages.
    addresses: Range<usize>,
    /// Address of the first byte of the part.
    first: usize,
    /// Length of the part.
    len: usize,
}

impl<'a> MappedFile<'a> {
    /// Maps `len` bytes of a regular file; `None` if it has fewer or cannot be mapped.
    fn new(file: BorrowedFd<'a>, offset: u64, len: usize) -> Option<Self> {
        let before = usize::try_from(offset).ok()? & (size() - 1);
        let start = libc::off_t::try_from(offset.checked_sub(to_u64(before))?).ok()?;
        let mapped_len = before.checked_add(len)?.checked_next_multiple_of(size())?;
        if regular_file::len(file)? < offset.checked_add(to_u64(len))? {
            return None;
        }
        // SAFETY: the new mapping is at addresses that nothing uses. No reference to its bytes is made: they may change or be gone.
        let mapping = unsafe {
            let protection = libc::PROT_READ;
            libc::mmap(
                ptr::null_mut(),
                mapped_len,
                protection,
                libc::MAP_SHARED,
                file.as_raw_fd(),
                start,
            )
        };
        if mapping == libc::MAP_FAILED {
            return None;
        }
        let address = mapping.expose_provenance();
        Some(Self {
            file,
            offset,
            addresses: address..address + mapped_len,
            first: address + before,
            len,
        })
    }

    fn address(&self, at: usize, len: usize) -> Option<usize> {
        (at.checked_add(len)? <= self.len).then_some(self.first + at)
    }

    /// Offset in the file of the end of the first `len` bytes.
    fn end_of(&self, len: usize) -> u64 {
        self.offset.saturating_add(to_u64(len))
    }

    /// Maps the pages of `len` bytes from `at` on, so that the copy takes no page fault for each. Fails past the end of the file.
    fn populate(&self, at: usize, len: usize) -> io::Result<()> {
        let first = self.address(at, len).ok_or(io::ErrorKind::InvalidInput)?;
        let start = first & !(size() - 1);
        let len = (first + len).next_multiple_of(size()) - start;
        // SAFETY: `address` has checked that the bytes are in the part, whose pages are all of the mapping. No byte of it changes.
        let result = unsafe {
            let start: *mut libc::c_void = ptr::with_exposed_provenance_mut(start);
            libc::madvise(start, len, libc::MADV_POPULATE_READ)
        };
        match result {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }
}

impl Drop for MappedFile<'_> {
    fn drop(&mut self) {
        // SAFETY: the mapping is that of `new`, and there are no references to its bytes.
        unsafe {
            let start = ptr::with_exposed_provenance_mut(self.addresses.start);
            libc::munmap(start, self.addresses.len());
        }
    }
}
