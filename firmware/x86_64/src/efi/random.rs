//! Random numbers of the CPU (Intel SDM volume 1, section 7.3.17).
#![expect(unsafe_code, reason = "an instruction that not all CPUs have")]

use core::arch::asm;
use core::arch::x86_64::__cpuid;

/// Attempts for a number, as Intel recommends.
const ATTEMPTS: u32 = 10;

/// True if the CPU has `RDRAND`.
pub(super) fn is_present() -> bool {
    __cpuid(1).ecx >> 30 & 1 == 1
}

fn number() -> Option<u64> {
    (0..ATTEMPTS).find_map(|_| {
        let (number, is_valid): (u64, u8);
        // SAFETY: the CPU has the instruction, as callers check.
        unsafe {
            asm!("rdrand {}", "setc {}", out(reg) number, out(reg_byte) is_valid, options(nomem, nostack));
        }
        (is_valid != 0).then_some(number)
    })
}

/// Fills the buffer; false if the CPU has no numbers. It must have the instruction.
pub(super) fn fill(buffer: &mut [u8]) -> bool {
    buffer.chunks_mut(8).all(|chunk| {
        let Some(number) = number() else { return false };
        for (byte, random) in chunk.iter_mut().zip(number.to_le_bytes()) {
            *byte = random;
        }
        true
    })
}
