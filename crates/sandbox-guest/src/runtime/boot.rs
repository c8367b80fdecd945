//! The boot information.
#![expect(unsafe_code, reason = "the boot information is at a fixed address")]

use core::ptr;

use sandbox_abi::{BootInfo, layout};

/// Bytes at the end of the stack that the entry leaves free for the state of the protocol, so that a call without parameters changes one page.
pub(super) const STATE_LEN: usize = 64;

/// The boot information: where the memory of the program is.
#[must_use]
#[inline]
pub fn boot_info() -> &'static BootInfo {
    // SAFETY: the page at this address has the boot information, which nobody changes while the program runs. The type has no alignment.
    unsafe { &*ptr::with_exposed_provenance(address(layout::BOOT_INFO)) }
}

/// The heap, for a program with an allocator of its own. With the feature `allocator`, it is in use.
#[must_use]
pub fn heap() -> *mut [u8] {
    let info = boot_info();
    let start = ptr::with_exposed_provenance_mut(address(info.heap.get()));
    ptr::slice_from_raw_parts_mut(start, address(info.heap_len.get()))
}

/// An address or a length as the CPU has it.
#[expect(
    clippy::as_conversions,
    clippy::cast_possible_truncation,
    reason = "the architectures have 64 bits"
)]
pub(super) const fn address(value: u64) -> usize {
    value as usize
}
