//! Files over guest memory.
#![expect(unsafe_code, reason = "system calls on guest memory take its address")]

use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd};

use boot_core::{BackingStore, ByteSource};

use super::regular_file;
use crate::slice::HostSlice;

/// A file that can be mapped over guest memory: a regular one whose pages have the size of those of anonymous memory.
///
/// It is examined once, for any number of loads: see [`FileMapper::examined`](crate::FileMapper::examined).
#[derive(Clone, Copy, Debug)]
pub struct MappableFile<'a> {
    file: BorrowedFd<'a>,
    /// When the file was examined.
    len: u64,
    is_sealed: bool,
}

impl<'a> MappableFile<'a> {
    /// Examines the file behind a source (`fstat(2)`, `F_GET_SEALS`). `None` for a source that is no file, and for a file that is copied: one that is not
    /// regular, has huge pages (hugetlbfs), or cannot be examined.
    #[must_use]
    pub fn new(source: &'a dyn ByteSource) -> Option<Self> {
        match source.backing_store() {
            BackingStore::File(file) => Self::of(file).map(Self::with_seals),
            _ => None,
        }
    }

    /// Examines a file, which is taken for one without seals. `None` as for [`new`](Self::new).
    pub(crate) fn of(file: BorrowedFd<'a>) -> Option<Self> {
        let is_sealed = false;
        regular_file::len(file).map(|len| Self { file, len, is_sealed })
    }

    /// A memory file that is sealed against writes and shrinking, of `len` bytes.
    pub(crate) const fn sealed(file: BorrowedFd<'a>, len: u64) -> Self {
        let is_sealed = true;
        Self { file, len, is_sealed }
    }

    /// The same file by another descriptor, if that has the same number: it is open for as long as this value exists, so it has no other file.
    pub(crate) fn by(self, file: BorrowedFd<'_>) -> Option<MappableFile<'_>> {
        let Self { len, is_sealed, .. } = self;
        (file.as_raw_fd() == self.file.as_raw_fd()).then_some(MappableFile { file, len, is_sealed })
    }

    /// Length in bytes.
    pub(crate) const fn len(self) -> u64 {
        self.len
    }

    /// Whether nobody can write to the file or shorten it any more.
    pub(crate) const fn is_sealed(self) -> bool {
        self.is_sealed
    }

    /// The same with the seals that the file has. Nobody can remove them.
    pub(crate) fn with_seals(self) -> Self {
        const FINAL: libc::c_int = libc::F_SEAL_WRITE | libc::F_SEAL_SHRINK;
        // SAFETY: the descriptor is open, and the request takes no argument.
        let seals = unsafe { libc::fcntl(self.file.as_raw_fd(), libc::F_GET_SEALS) };
        // An error, a negative number, means a file that has no seals.
        let is_sealed = seals >= 0 && seals & FINAL == FINAL;
        Self { is_sealed, ..self }
    }
}

/// Replaces the memory of `slice`, whole pages, by the bytes of `file` from `offset` on, copied on write. With `populate`, the pages are there
/// after the call.
///
/// On an error, the memory reads as zeros.
pub(crate) fn map_file<S: HostSlice>(
    slice: &S,
    file: MappableFile<'_>,
    offset: u64,
    populate: bool,
) -> io::Result<()> {
    let offset =
        libc::off_t::try_from(offset).map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
    let populate = if populate { libc::MAP_POPULATE } else { 0 };
    let result = slice.with_ptr(|start| {
        let map = |flags, fd, offset| {
            let protection = libc::PROT_READ | libc::PROT_WRITE;
            let flags = flags | libc::MAP_PRIVATE | libc::MAP_NORESERVE | libc::MAP_FIXED;
            // SAFETY: the slice proves that its bytes are mapped, that no Rust reference to them exists, and that they may have any value at any
            // time. The new pages are at the same addresses, readable and writable like those before, and no others are replaced: callers pass
            // whole pages. Whoever owns the mapping unmaps its addresses, whatever is mapped there.
            let mapped = unsafe { libc::mmap(start.cast(), slice.len(), protection, flags, fd, offset) };
            if mapped == libc::MAP_FAILED {
                return Err(io::Error::last_os_error());
            }
            Ok(())
        };
        map(populate, file.file.as_raw_fd(), offset).inspect_err(|_| {
            // The kernel may have removed the old pages. Unless something is mapped there, a later `mmap` of anyone could be given the addresses,
            // which the owner of the slice would write to.
            if map(libc::MAP_ANONYMOUS, -1, 0).is_err() {
                std::process::abort();
            }
        })
    });
    slice.mark_dirty(0, slice.len());
    result
}
