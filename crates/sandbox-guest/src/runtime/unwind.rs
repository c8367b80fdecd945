//! Symbols of an unwinder, to which the precompiled standard library refers. The program aborts on a panic, so nothing calls them.
#![expect(unsafe_code, reason = "symbols for the standard library")]

use super::entry;

/// Continues unwinding.
#[unsafe(no_mangle)]
extern "C" fn _Unwind_Resume() -> ! {
    entry::halt()
}

/// Finds the handlers of a frame.
#[unsafe(no_mangle)]
extern "C" fn rust_eh_personality() {
    entry::halt()
}
