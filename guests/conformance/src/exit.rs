//! Ways to end the run.
#![expect(unsafe_code, reason = "a triple fault needs an empty IDT")]

use core::arch::asm;

use clauses::report;

use crate::machine::port::Port;

const DEBUG_EXIT: Port = Port::at(0xf4);
const I8042_COMMAND: Port = Port::at(0x64);
/// Number of reset pulses before the fallback to a triple fault.
const RESET_TRIES: u32 = 1_000;

/// Prints the summary of the report and ends the run.
pub(crate) fn finish() -> ! {
    exit(report::summary())
}

/// Ends the run through the debug-exit port, or by a reset on a machine without that port.
pub(crate) fn exit(success: bool) -> ! {
    DEBUG_EXIT.write(if success { 0x10 } else { 0x11 });
    reset()
}

/// Resets the machine by the keyboard controller, or else by a triple fault.
pub(crate) fn reset() -> ! {
    for _ in 0..RESET_TRIES {
        I8042_COMMAND.write(0xfe);
    }
    triple_fault()
}

/// Shuts the CPU down.
pub(crate) fn triple_fault() -> ! {
    let empty = [0_u8; 10];
    // SAFETY: with an empty IDT neither the exception nor the resulting double fault can be delivered, so the CPU shuts down,
    // as intended.
    unsafe { asm!("lidt [{}]", "ud2", in(reg) &raw const empty, options(noreturn)) }
}
