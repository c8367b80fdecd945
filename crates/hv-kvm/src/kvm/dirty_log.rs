//! Dirty logs of RAM slots.
#![expect(unsafe_code, reason = "passes buffers of run-time size to KVM")]

use hv_core::DirtyPages;
use kvm_bindings::{
    KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2, KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE, KVMIO, kvm_clear_dirty_log,
    kvm_clear_dirty_log__bindgen_ty_1, kvm_dirty_log, kvm_dirty_log__bindgen_ty_1, kvm_enable_cap,
};
use kvm_ioctls::{Error, VmFd};
use vmm_sys_util::{ioctl::ioctl_with_ref, ioctl_iow_nr, ioctl_iowr_nr};

use crate::HarnessError;

ioctl_iow_nr!(KVM_GET_DIRTY_LOG, KVMIO, 0x42, kvm_dirty_log);
ioctl_iowr_nr!(KVM_CLEAR_DIRTY_LOG, KVMIO, 0xc0, kvm_clear_dirty_log);

/// Number of pages in a word of a log: the unit of `KVM_CLEAR_DIRTY_LOG`.
const WORD: usize = 64;

/// What `KVM_GET_DIRTY_LOG` does with the pages of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DirtyLog {
    /// It takes them, and protects them against writes again.
    Taken,
    /// It leaves them; `KVM_CLEAR_DIRTY_LOG` takes them.
    Kept,
}

impl DirtyLog {
    /// Makes the machine keep pages in its logs, if the kernel can do so (since Linux 5.1).
    pub(super) fn keep(fd: &VmFd) -> Result<Self, HarnessError> {
        let capability = kvm_enable_cap {
            cap: KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2,
            args: [KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE.into(), 0, 0, 0],
            ..kvm_enable_cap::default()
        };
        match fd.enable_cap(&capability) {
            Ok(()) => Ok(Self::Kept),
            // Kernels without the capability, and those without capabilities of machines.
            Err(error) if matches!(error.errno(), libc::EINVAL | libc::ENOTTY) => Ok(Self::Taken),
            Err(error) => Err(HarnessError::request(
                "KVM_ENABLE_CAP (KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2)",
                error,
            )),
        }
    }
}

/// Takes the pages of `dirty` before number `end` from the log of slot number `slot`, and protects them against writes again. `dirty` is a set
/// of pages of this slot.
pub(super) fn clear_before(fd: &VmFd, slot: u32, end: usize, dirty: &DirtyPages) -> Result<(), HarnessError> {
    let mut taken = dirty.iter().take_while(|page| *page < end);
    let Some(first) = taken.next() else {
        return Ok(());
    };
    let last = taken.last().unwrap_or(first);
    let range = first / WORD..=last / WORD;
    let mut words = dirty.words().get(range).unwrap_or_default().to_vec();
    if let Some(word) = words.last_mut().filter(|_| last / WORD == end / WORD) {
        *word &= !(u64::MAX << (end % WORD));
    }
    let start = first / WORD * WORD;
    let pages = words
        .len()
        .saturating_mul(WORD)
        .min(dirty.pages().saturating_sub(start));
    let log = kvm_clear_dirty_log {
        slot,
        // A slot has less than 2^31 pages.
        num_pages: u32::try_from(pages).unwrap_or(u32::MAX),
        first_page: boot_core::arith::to_u64(start),
        __bindgen_anon_1: kvm_clear_dirty_log__bindgen_ty_1 {
            dirty_bitmap: words.as_mut_ptr().cast(),
        },
    };
    // SAFETY: the kernel reads one bit for each of `pages` pages, in words of 64 bits. `words` has as many and outlives the call.
    let result = unsafe { ioctl_with_ref(fd, KVM_CLEAR_DIRTY_LOG(), &log) };
    if result == 0 {
        Ok(())
    } else {
        Err(HarnessError::request("KVM_CLEAR_DIRTY_LOG", Error::last()))
    }
}

/// Replaces `dirty` by the pages in the log of slot number `slot`. With [`DirtyLog::Taken`], the log is empty afterwards.
///
/// # Safety
///
/// The slot has `len` bytes during the call.
pub(super) unsafe fn read(
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
