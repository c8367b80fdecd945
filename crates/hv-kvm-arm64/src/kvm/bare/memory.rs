//! Rewind code and register image in the memory of the machine.
#![expect(
    unsafe_code,
    reason = "reads and cleans memory of the guest by its host address"
)]

use std::{arch::asm, ptr::NonNull, slice};

use boot_core::GuestRange;
use hv_kvm::VmFile;

use crate::{KvmError, rewind};

/// Checks that the memory at `code` has the rewind code, which no guest can write.
pub(super) fn check_code(memory: &VmFile, code: u64) -> Result<(), KvmError> {
    let missing = KvmError::RewindCodeMissing { address: code };
    let len = boot_core::arith::to_u64(rewind::CODE.len());
    let is_code = |host: NonNull<u8>| {
        // SAFETY: `with_host` passes an address with `len` mapped bytes, and memory with the rewind code changes neither by the guest nor by
        // its owner while the machine exists (`BareConfig::rewind_code`).
        let found = unsafe { slice::from_raw_parts(host.as_ptr(), rewind::CODE.len()) };
        found == rewind::CODE
    };
    match with_host(memory, code, len, is_code) {
        Some(true) => Ok(()),
        _ => Err(missing),
    }
}

/// Writes the `len` bytes of the register image at `image` back from the caches: with the MMU off, guests on CPUs without `FEAT_S2FWB` read
/// past the caches.
pub(super) fn clean(memory: &VmFile, image: u64, len: u64) -> Result<(), KvmError> {
    let line_len = cache_line();
    let clean = |host: NonNull<u8>| {
        let first = host.as_ptr().addr() & !(line_len - 1);
        let end = host.as_ptr().addr() + usize::try_from(len).unwrap_or(0);
        for line in (first..end).step_by(line_len) {
            // SAFETY: the instruction does not change contents of memory as the program sees them. Linux allows it to programs, and the address
            // is in a mapping.
            unsafe { asm!("dc cvac, {}", in(reg) line, options(nostack, preserves_flags)) };
        }
        // SAFETY: a barrier.
        unsafe { asm!("dsb ish", options(nostack, preserves_flags)) };
    };
    with_host(memory, image, len, clean).ok_or(KvmError::RewindImageMissing { address: image })
}

/// Length of the smallest data cache line in bytes.
fn cache_line() -> usize {
    let ctr: u64;
    // SAFETY: reads a register that Linux lets programs read.
    unsafe { asm!("mrs {}, CTR_EL0", out(reg) ctr, options(nomem, nostack, preserves_flags)) };
    // DminLine: the binary logarithm of the number of words.
    4 << (ctr >> 16 & 0xf)
}

/// Calls `f` with the host address of `len` bytes of guest memory; `None` if no slot has them all.
fn with_host<R>(memory: &VmFile, address: u64, len: u64, f: impl FnOnce(NonNull<u8>) -> R) -> Option<R> {
    let wanted = GuestRange::new(address, len)?;
    memory.with_slots(|slots| {
        let slot = slots.values().find(|slot| slot.range().contains(wanted))?;
        let offset = usize::try_from(address - slot.range().start()).ok()?;
        NonNull::new(slot.host_ptr().wrapping_add(offset)).map(f)
    })
}
