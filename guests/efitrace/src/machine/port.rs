//! I/O ports.
#![expect(unsafe_code, reason = "I/O ports are accessed by instructions")]

use core::arch::asm;
use core::fmt;

/// The port of QEMU's `isa-debugcon`, at the address that Bochs has.
const DEBUG_CONSOLE: u16 = 0xe9;

/// Writes a byte to a port of QEMU's debug console or of its fw_cfg.
pub(super) fn write_u8(port: u16, value: u8) {
    // SAFETY: the callers' ports belong to devices of QEMU that do not change memory by writes of bytes.
    unsafe { asm!("out dx, al", in("dx") port, in("al") value, options(nomem, nostack, preserves_flags)) };
}

/// Writes 16 bits to a port of QEMU's fw_cfg.
pub(super) fn write_u16(port: u16, value: u16) {
    // SAFETY: the caller's port is the selector of fw_cfg, which does not change memory.
    unsafe { asm!("out dx, ax", in("dx") port, in("ax") value, options(nomem, nostack, preserves_flags)) };
}

/// Reads a byte from a port of QEMU's fw_cfg.
pub(super) fn read_u8(port: u16) -> u8 {
    let value;
    // SAFETY: the caller's port is the data register of fw_cfg, which does not change memory.
    unsafe { asm!("in al, dx", in("dx") port, out("al") value, options(nomem, nostack, preserves_flags)) };
    value
}

/// The debug console.
#[derive(Debug)]
pub(super) struct DebugConsole;

impl fmt::Write for DebugConsole {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        text.bytes().for_each(|byte| write_u8(DEBUG_CONSOLE, byte));
        Ok(())
    }
}
