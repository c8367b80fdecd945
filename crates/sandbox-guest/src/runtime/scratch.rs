//! The scratch area, with the copies of pages that the program wrote.
#![expect(unsafe_code, reason = "the scratch area is at a fixed address")]

use core::mem::size_of;
use core::ptr;

use sandbox_abi::ScratchState;

use super::boot::{address, boot_info};

/// Offset of a word in the page of the scratch state: not zero if there was no page for a copy, until that is reported.
pub(super) const EXHAUSTED: usize = size_of::<ScratchState>();

/// Offset of registers that the handler saves.
#[cfg(target_arch = "aarch64")]
pub(super) const SAVED: usize = 64;

/// Whether the exception was that there is no page for a copy. True once.
pub(super) fn take_exhausted() -> bool {
    let scratch = address(boot_info().scratch.get());
    if scratch == 0 {
        return false;
    }
    let word = ptr::with_exposed_provenance_mut::<u64>(scratch + EXHAUSTED);
    // SAFETY: the first page of the scratch area is mapped at this address; only handlers of exceptions use it, and this one runs.
    unsafe { word.replace(0) != 0 }
}
