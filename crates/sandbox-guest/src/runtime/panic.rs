//! Panics.
#![expect(unsafe_code, reason = "a counter without a lock")]

use core::cell::Cell;
use core::fmt::{self, Write};
use core::panic::PanicInfo;

use sandbox_abi::{CrashReason, CrashRecord};

use super::entry;
use super::port::port;
use crate::crash::report_crash;

/// How often the program crashed: once, and again while it reported that.
struct Crashes(Cell<u32>);

// SAFETY: there is one CPU.
unsafe impl Sync for Crashes {}

static CRASHES: Crashes = Crashes(Cell::new(0));

/// Counts a crash, and returns false if the report of the first one crashed: then only `record` can be sent, without a text. Stops if that
/// failed as well.
pub(super) fn is_first_crash(record: &CrashRecord) -> bool {
    let before = CRASHES.0.replace(CRASHES.0.get().saturating_add(1));
    match before {
        0 => true,
        1 => {
            report_crash(port(), *record, format_args!(""), None);
            entry::halt()
        }
        _ => entry::halt(),
    }
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    let reason = if is_out_of_memory(info) {
        CrashReason::OUT_OF_MEMORY
    } else {
        CrashReason::PANIC
    };
    let record = entry::registers(reason);
    if is_first_crash(&record) {
        report_crash(
            port(),
            record,
            format_args!("{}", info.message()),
            info.location(),
        );
    }
    entry::halt()
}

/// Whether the panic is that of the standard library after an allocation failed.
#[cfg(feature = "allocator")]
fn is_out_of_memory(info: &PanicInfo<'_>) -> bool {
    let failed = super::heap::failed();
    if failed == 0 {
        return false;
    }
    // The text has no other source: `alloc` panics with it, and there is no stable way to replace that.
    let mut expected = Prefix::new();
    let mut found = Prefix::new();
    let is_written = write!(expected, "memory allocation of {failed} bytes failed").is_ok();
    let _ = write!(found, "{}", info.message());
    is_written && expected.as_bytes() == found.as_bytes()
}

/// Whether the panic is that of the standard library after an allocation failed.
#[cfg(not(feature = "allocator"))]
fn is_out_of_memory(_: &PanicInfo<'_>) -> bool {
    false
}

/// The first bytes of a text.
struct Prefix {
    bytes: [u8; 64],
    len: usize,
}

impl Prefix {
    const fn new() -> Self {
        let bytes = [0; 64];
        Self { bytes, len: 0 }
    }

    fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}

impl Write for Prefix {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let text = text.as_bytes();
        let end = self.len + text.len();
        self.bytes
            .get_mut(self.len..end)
            .ok_or(fmt::Error)?
            .copy_from_slice(text);
        self.len = end;
        Ok(())
    }
}
