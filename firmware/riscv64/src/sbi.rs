//! Console and reset of SBI (RISC-V Supervisor Binary Interface Specification 2.0).
#![expect(unsafe_code, reason = "calls of SBI")]

use core::arch::asm;

/// Extensions and functions.
const BASE: u64 = 0x10;
const PROBE: u64 = 3;
const DBCN: u64 = 0x4442_434e;
const CONSOLE_WRITE_BYTE: u64 = 2;
const LEGACY_PUTCHAR: u64 = 1;
const LEGACY_GETCHAR: u64 = 2;
const LEGACY_SHUTDOWN: u64 = 8;
const SRST: u64 = 0x5352_5354;
const SYSTEM_RESET: u64 = 0;

/// Calls SBI, and returns error and value.
///
/// # Safety
///
/// The function does not write memory.
unsafe fn call(extension: u64, function: u64, argument: u64) -> (u64, u64) {
    let (error, value);
    // SAFETY: SBI preserves all registers except a0 and a1; the caller guarantees that memory stays.
    unsafe {
        asm!("ecall", inout("a0") argument => error, inout("a1") 0_u64 => value, in("a6") function,
            in("a7") extension, options(nostack));
    }
    (error, value)
}

/// Sends a byte to the debug console, or by the legacy call of firmware without it.
pub(crate) fn send(byte: u8) {
    // SAFETY: these functions do not write memory.
    let has_console = matches!(unsafe { call(BASE, PROBE, DBCN) }, (0, found) if found != 0);
    let (extension, function) = if has_console {
        (DBCN, CONSOLE_WRITE_BYTE)
    } else {
        (LEGACY_PUTCHAR, 0)
    };
    // SAFETY: as above.
    unsafe { call(extension, function, byte.into()) };
}

/// The next byte that the console has received, by the legacy call: that of the debug console takes a buffer.
pub(crate) fn receive() -> Option<u8> {
    // SAFETY: the function does not write memory.
    let (byte, _) = unsafe { call(LEGACY_GETCHAR, 0, 0) };
    // Without a byte, and without the call, the result is negative.
    u8::try_from(byte).ok()
}

/// Types of a reset (section 10.1).
pub(crate) const SHUTDOWN: u64 = 0;
pub(crate) const COLD_REBOOT: u64 = 1;
pub(crate) const WARM_REBOOT: u64 = 2;

/// Resets the machine or powers it off. Returns if SBI cannot.
pub(crate) fn reset(kind: u64) {
    // SAFETY: these functions do not write memory. The second argument, the reason, is 0.
    unsafe { call(SRST, SYSTEM_RESET, kind) };
    if kind == SHUTDOWN {
        // SAFETY: as above.
        unsafe { call(LEGACY_SHUTDOWN, 0, 0) };
    }
}
