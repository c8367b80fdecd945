//! Exceptions of the CPU.
#![expect(unsafe_code, reason = "the entry code calls a symbol")]

use sandbox_abi::CrashReason;

use super::entry::{self, Frame};
use super::panic::is_first_crash;
use super::port::stop_with;

/// Reports an exception. The entry code calls it on the stack for exceptions.
#[unsafe(export_name = "vmsandbox_exception")]
extern "C" fn exception(frame: &Frame) -> ! {
    let record = frame.record(CrashReason::EXCEPTION);
    if is_first_crash(&record) {
        stop_with(&record, format_args!("{}", frame.name()));
    }
    entry::halt()
}
