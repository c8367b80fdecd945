//! The data cache.
#![expect(unsafe_code, reason = "instructions for the cache")]

use core::arch::asm;

use boot_core::GuestRange;

/// Cleans and invalidates the range to the point of coherency: it then has the same content with and without caches (Linux
/// `Documentation/arch/arm64/booting.rst`, section 4, "Caches, MMUs").
pub(crate) fn clean(range: GuestRange) {
    let ctr: u64;
    // SAFETY: reading the register has no effect.
    unsafe { asm!("mrs {}, ctr_el0", out(reg) ctr, options(nomem, nostack, preserves_flags)) };
    // DminLine: the binary logarithm of the words of the smallest line.
    let line = 4 << (ctr >> 16 & 0xf);
    let mut addr = range.start() & !(line - 1);
    while addr < range.end() {
        // SAFETY: cleaning and invalidating a line does not change what the CPU reads there.
        unsafe { asm!("dc civac, {}", in(reg) addr, options(nostack, preserves_flags)) };
        addr = addr.saturating_add(line);
    }
    // SAFETY: a barrier.
    unsafe { asm!("dsb sy", options(nostack, preserves_flags)) };
}
