//! Memory files (`memfd_create(2)`).

#![expect(unsafe_code, reason = "system calls, and a new file descriptor")]

use std::ffi::CStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// A file in memory with a fixed length, for memory that several mappings share.
///
/// The file has `F_SEAL_GROW` and `F_SEAL_SHRINK` from its creation on: an access to its mappings never ends past its end, so it
/// causes no `SIGBUS`.
#[derive(Debug)]
pub struct Memfd {
    file: File,
    len: usize,
}

impl Memfd {
    /// Creates a file of `len` zeros, which takes no memory until it is written. `name` is its name in `/proc/self/maps`; it need not
    /// be unique.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::InvalidInput`] if `len` is zero or exceeds `isize::MAX`; errors of `memfd_create(2)`, `ftruncate(2)` and
    /// `fcntl(2)`.
    pub fn create(name: &CStr, len: usize) -> io::Result<Self> {
        let size = u64::try_from(len).ok();
        let Some(size) = size.filter(|&size| size > 0 && isize::try_from(len).is_ok()) else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        // SAFETY: the kernel reads the name up to its terminating zero byte, which a `CStr` has.
        let fd = unsafe { libc::memfd_create(name.as_ptr(), libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the descriptor is open, and nothing else owns it.
        let file = File::from(unsafe { OwnedFd::from_raw_fd(fd) });
        file.set_len(size)?;
        let memfd = Self { file, len };
        memfd.add_seals(libc::F_SEAL_GROW | libc::F_SEAL_SHRINK)?;
        Ok(memfd)
    }

    /// Makes the contents final: no write, no writable shared mapping and no further seal is possible afterwards (`F_SEAL_WRITE` and
    /// `F_SEAL_SEAL`). Private mappings stay writable.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::ResourceBusy`] while a writable shared mapping exists; other errors of `fcntl(2)`.
    pub fn seal(&self) -> io::Result<()> {
        self.add_seals(libc::F_SEAL_WRITE | libc::F_SEAL_SEAL)
    }

    /// Length in bytes.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "it is never empty")]
    pub fn len(&self) -> usize {
        self.len
    }

    /// The file.
    #[must_use]
    pub fn file(&self) -> &File {
        &self.file
    }

    /// The file alone.
    #[must_use]
    pub fn into_file(self) -> File {
        self.file
    }

    fn add_seals(&self, seals: libc::c_int) -> io::Result<()> {
        // SAFETY: the descriptor is open, and the request takes an integer.
        let result = unsafe { libc::fcntl(self.file.as_raw_fd(), libc::F_ADD_SEALS, seals) };
        if result == 0 {
            Ok(())
        } else {
            Err(io::Error::last_os_error())
        }
    }
}

impl AsFd for Memfd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}
