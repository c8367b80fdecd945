//! The end.
#![expect(unsafe_code, reason = "an instruction")]

use core::arch::asm;

/// Stops the hart.
pub(crate) fn halt() -> ! {
    loop {
        // SAFETY: interrupts are disabled, so this only waits.
        unsafe { asm!("wfi", options(nomem, nostack, preserves_flags)) }
    }
}
