//! Dirty logs of RAM slots.
#![expect(unsafe_code, reason = "passes a buffer of run-time size to KVM_GET_DIRTY_LOG")]

use hv_core::DirtyPages;
use kvm_bindings::{KVMIO, kvm_dirty_log, kvm_dirty_log__bindgen_ty_1};
use kvm_ioctls::{Error, VmFd};
use vmm_sys_util::{ioctl::ioctl_with_ref, ioctl_iow_nr};

use crate::HarnessError;

ioctl_iow_nr!(KVM_GET_DIRTY_LOG, KVMIO, 0x42, kvm_dirty_log);

/// Replaces `dirty` by the pages of slot number `slot` that the guest wrote since the last call, and protects them against writes again.
///
/// # Safety
///
/// The slot has `len` bytes during the call.
pub(super) unsafe fn take(
    fd: &VmFd,
    slot: u32,
    len: u64,
    dirty: &mut DirtyPages,
) -> Result<(), HarnessError> {
    // A slot is memory of this process, so its number of pages fits.
    let pages = usize::try_from(len.div_ceil(page_size())).unwrap_or(usize::MAX);
    dirty
        .fill_with(pages, |words| {
            let log = kvm_dirty_log {
                slot,
                padding1: 0,
                __bindgen_anon_1: kvm_dirty_log__bindgen_ty_1 {
                    dirty_bitmap: words.as_mut_ptr().cast(),
                },
            };
            // SAFETY: the kernel writes one bit for each page of the slot, in words of 64 bits. `words` has as many: the caller vouches for
            // the length of the slot, and the size of pages is that of the kernel. It is borrowed during the call.
            let result = unsafe { ioctl_with_ref(fd, KVM_GET_DIRTY_LOG(), &log) };
            if result == 0 { Ok(()) } else { Err(Error::last()) }
        })
        .map_err(|error| HarnessError::request("KVM_GET_DIRTY_LOG", error))
}

/// The size of the host's pages in bytes: at least 4096 on every architecture.
fn page_size() -> u64 {
    // SAFETY: `sysconf` has no preconditions.
    let size = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    u64::try_from(size).unwrap_or(0).max(4096)
}
