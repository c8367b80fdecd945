//! Accesses to memory in the way of a guest, for fake guests and debuggers.

#![expect(unsafe_code, reason = "system calls take addresses")]

use std::io;

use boot_core::arith;

use crate::region::RamRegion;

/// A system call that copies memory of a process.
type Copy = unsafe extern "C" fn(
    libc::pid_t,
    *const libc::iovec,
    libc::c_ulong,
    *const libc::iovec,
    libc::c_ulong,
    libc::c_ulong,
) -> libc::ssize_t;

impl RamRegion {
    /// Copies bytes from `offset` on to `bytes`, as a guest reads them: at any time, from any thread.
    ///
    /// The kernel makes the access (`process_vm_readv(2)`), so neither other accesses of this process nor claims of
    /// [`ExclusiveBytes`](crate::ExclusiveBytes) exclude it. It is made for fake guests in tests, and for debuggers: a page past the
    /// end of a file is an error, and no signal.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::InvalidInput`] if the region has fewer bytes; errors of the kernel. Some bytes may be copied then.
    pub fn read_as_guest(&self, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        let local = libc::iovec {
            iov_base: bytes.as_mut_ptr().cast(),
            iov_len: bytes.len(),
        };
        // SAFETY: the kernel writes the bytes of `local`, which are those of a unique slice.
        unsafe { self.copy(libc::process_vm_readv, offset, &local) }
    }

    /// Copies `bytes` to the memory from `offset` on, as a guest writes them; see [`read_as_guest`](Self::read_as_guest).
    ///
    /// # Errors
    ///
    /// As [`read_as_guest`](Self::read_as_guest).
    pub fn write_as_guest(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let local = libc::iovec {
            iov_base: bytes.as_ptr().cast_mut().cast(),
            iov_len: bytes.len(),
        };
        // SAFETY: the kernel reads the bytes of `local`, which are those of a slice.
        unsafe { self.copy(libc::process_vm_writev, offset, &local) }
    }

    /// Copies between `local` and as many bytes of the region from `offset` on.
    ///
    /// # Safety
    ///
    /// `local` is valid for the access that `call` makes to it.
    unsafe fn copy(&self, call: Copy, offset: u64, local: &libc::iovec) -> io::Result<()> {
        let len = arith::to_u64(local.iov_len);
        let end = offset.checked_add(len);
        let offset = usize::try_from(offset).ok();
        let is_inside = end.is_some_and(|end| end <= self.range().len());
        let Some(offset) = offset.filter(|_| is_inside) else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        if local.iov_len == 0 {
            return Ok(());
        }
        let remote = libc::iovec {
            iov_base: self.host_ptr().wrapping_add(offset).cast(),
            iov_len: local.iov_len,
        };
        let process = libc::pid_t::try_from(std::process::id()).map_err(io::Error::other)?;
        // SAFETY: the caller vouches for `local`. The bytes of `remote` are mapped while `self` exists and no Rust reference to them exists;
        // the kernel reports bytes that the mapping does not allow to access.
        let copied = unsafe { call(process, local, 1, &raw const remote, 1, 0) };
        match usize::try_from(copied) {
            Ok(copied) if copied == local.iov_len => Ok(()),
            Ok(_) => Err(io::ErrorKind::WriteZero.into()),
            Err(_) => Err(io::Error::last_os_error()),
        }
    }
}
