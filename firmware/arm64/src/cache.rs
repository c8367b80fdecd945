//! The caches.
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
    for_lines(range, line, |line| {
        // SAFETY: cleaning and invalidating a line does not change what the CPU reads there.
        unsafe { asm!("dc civac, {}", in(reg) line, options(nostack, preserves_flags)) };
    });
    // SAFETY: a barrier.
    unsafe { asm!("dsb sy", options(nostack, preserves_flags)) };
}

/// Makes what was written to the range visible to instruction fetches: cleans data to the point of unification and invalidates instructions
/// (Arm ARM, B2.7.4), where `CTR_EL0` does not say that this is not needed.
pub(crate) fn sync_code(range: GuestRange) {
    let ctr: u64;
    // SAFETY: reading the register has no effect.
    unsafe { asm!("mrs {}, ctr_el0", out(reg) ctr, options(nomem, nostack, preserves_flags)) };
    let [data, instructions] = [16, 0].map(|shift| 4 << (ctr >> shift & 0xf));
    // IDC and DIC: caches are coherent with each other.
    let [needs_clean, needs_invalidation] = [28, 29].map(|bit| ctr >> bit & 1 == 0);
    if needs_clean {
        for_lines(range, data, |line| {
            // SAFETY: cleaning a line does not change what the CPU reads there.
            unsafe { asm!("dc cvau, {}", in(reg) line, options(nostack, preserves_flags)) };
        });
    }
    // SAFETY: a barrier.
    unsafe { asm!("dsb ish", options(nostack, preserves_flags)) };
    if needs_invalidation {
        for_lines(range, instructions, |line| {
            // SAFETY: instructions are fetched again.
            unsafe { asm!("ic ivau, {}", in(reg) line, options(nostack, preserves_flags)) };
        });
        // SAFETY: a barrier.
        unsafe { asm!("dsb ish", options(nostack, preserves_flags)) };
    }
    // SAFETY: a barrier.
    unsafe { asm!("isb", options(nostack, preserves_flags)) };
}

/// Calls a function with the address of each cache line, of `len` bytes, in the range.
fn for_lines(range: GuestRange, len: u64, function: impl Fn(u64)) {
    let mut addr = range.start() & !(len - 1);
    while addr < range.end() {
        function(addr);
        addr = addr.saturating_add(len);
    }
}
