//! Exceptions of the CPU.
#![expect(unsafe_code, reason = "the entry code calls a symbol")]

use sandbox_abi::CrashReason;

use super::entry::{self, Frame};
use super::panic::is_first_crash;
use super::port::stop_with;
use super::scratch::take_exhausted;

/// Reports an exception. The entry code calls it on the stack for exceptions.
#[unsafe(export_name = "vmsandbox_exception")]
extern "C" fn exception(frame: &Frame) -> ! {
    let (reason, text) = if take_exhausted() {
        (CrashReason::OUT_OF_COPIES, "no page for a copy")
    } else {
        (CrashReason::EXCEPTION, frame.name())
    };
    let record = frame.record(reason);
    if is_first_crash(&record) {
        stop_with(&record, format_args!("{text}"));
    }
    entry::halt()
}
