//! The end of the firmware.
#![expect(unsafe_code, reason = "an instruction")]

/// Stops the CPU.
pub(crate) fn halt() -> ! {
    loop {
        // SAFETY: interrupts are disabled, so this stops the CPU.
        unsafe { core::arch::asm!("cli", "hlt", options(nomem, nostack)) }
    }
}
