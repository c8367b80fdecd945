//! The byte `immediate_exit` of a vCPU, for access from any thread.
#![expect(unsafe_code, reason = "maps the first page of `struct kvm_run`")]

use std::{
    io,
    mem::offset_of,
    os::fd::AsRawFd,
    ptr::{self, NonNull},
    sync::atomic::AtomicU8,
};

use kvm_bindings::kvm_run;
use kvm_ioctls::VcpuFd;

/// Length of the mapping: the kernel extends it to a whole page.
const LEN: usize = 0x1000;
const _: () = assert!(offset_of!(kvm_run, immediate_exit) < LEN);

/// A mapping of its own of the first page of `struct kvm_run`.
///
/// The mapping of kvm-ioctls has the same page at another address, and gives references to it. The byte is never accessed
/// through such a reference: in this process, only through [`byte`](Self::byte).
#[derive(Debug)]
pub(super) struct ImmediateExit(NonNull<u8>);

// SAFETY: the address is not tied to a thread: the mapping exists until the value is dropped.
unsafe impl Send for ImmediateExit {}

// SAFETY: `&self` gives access to one byte, as an atomic.
unsafe impl Sync for ImmediateExit {}

impl ImmediateExit {
    /// Maps the page of a vCPU. The mapping does not depend on the lifetime of `fd`.
    pub(super) fn map(fd: &VcpuFd) -> io::Result<Self> {
        // SAFETY: without MAP_FIXED, the kernel chooses addresses that are not in use, so no other memory changes. Every vCPU
        // has this page (KVM API, "KVM_RUN"), and the mapping refers to the file itself, so it stays valid after its close.
        let page = unsafe {
            libc::mmap(
                ptr::null_mut(),
                LEN,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                fd.as_raw_fd(),
                0,
            )
        };
        if page == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let page = NonNull::new(page.cast()).ok_or(io::ErrorKind::AddrNotAvailable)?;
        Ok(Self(page))
    }

    /// The byte. KVM reads it on each entry; a value other than zero makes `KVM_RUN` return `EINTR`.
    pub(super) fn byte(&self) -> &AtomicU8 {
        // SAFETY: the offset is less than `LEN`, so the address is in the mapping.
        let byte = unsafe { self.0.add(offset_of!(kvm_run, immediate_exit)) };
        // SAFETY: the byte is mapped while `self` exists, always aligned, and every value is valid. No other reference to these
        // addresses exists: they are private to `self`. The kernel and the other mapping of the page are outside of this
        // program's memory, as for any shared mapping; the kernel only reads the byte.
        unsafe { AtomicU8::from_ptr(byte.as_ptr()) }
    }
}

impl Drop for ImmediateExit {
    fn drop(&mut self) {
        // SAFETY: `map` created this mapping with this length, and nothing refers to it: references from `byte` have ended.
        unsafe { libc::munmap(self.0.as_ptr().cast(), LEN) };
    }
}
