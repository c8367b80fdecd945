//! One line per clause, and their total.
#![expect(unsafe_code, reason = "a function is kept in an atomic")]

use core::fmt;
use core::ptr;
use core::sync::atomic::{AtomicPtr, AtomicU32, Ordering};

/// Sends one byte to whoever reads the report.
pub type Send = fn(u8);

/// A [`Send`], or null: nobody reads.
static SEND: AtomicPtr<()> = AtomicPtr::new(ptr::null_mut());
static OK: AtomicU32 = AtomicU32::new(0);
static FAILED: AtomicU32 = AtomicU32::new(0);

/// Sends every line by `send` from now on.
pub fn to(send: Send) {
    SEND.store(send as *mut (), Ordering::Relaxed);
}

struct Sink;

impl fmt::Write for Sink {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let send = SEND.load(Ordering::Relaxed);
        if !send.is_null() {
            // SAFETY: `to` alone writes the atomic, and what it writes is a function of this type; pointers to functions
            // are as large as others on every target this builds for.
            let send = unsafe { core::mem::transmute::<*mut (), Send>(send) };
            text.bytes().for_each(send);
        }
        Ok(())
    }
}

/// One more. There is one CPU that reports; the instructions of `fetch_add` need not work where its memory is not cached, as
/// on an arm64 whose MMU is off.
fn count(counter: &AtomicU32) {
    counter.store(counter.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
}

/// Prints a line.
pub fn line(text: fmt::Arguments<'_>) {
    // Sending cannot fail; an error could only come from a `Display` of ours, and none makes one.
    let _ = fmt::write(&mut Sink, format_args!("{text}\r\n"));
}

/// Prints `ok NAME`.
pub fn ok(name: impl fmt::Display) {
    count(&OK);
    line(format_args!("ok {name}"));
}

/// Prints `FAIL NAME: found X, expected Y`.
pub fn fail(name: impl fmt::Display, found: fmt::Arguments<'_>, expected: fmt::Arguments<'_>) {
    count(&FAILED);
    line(format_args!("FAIL {name}: found {found}, expected {expected}"));
}

/// Prints the total; answers whether nothing failed and something was checked.
#[must_use]
pub fn total() -> bool {
    let (ok, failed) = (OK.load(Ordering::Relaxed), FAILED.load(Ordering::Relaxed));
    line(format_args!("conformance: {ok} ok, {failed} failed"));
    failed == 0 && ok > 0
}

/// Prints `note NAME …`: something found that nobody asked for.
#[macro_export]
macro_rules! note {
    ($name:expr, $($text:tt)*) => {
        $crate::report::line(format_args!("note {} {}", $name, format_args!($($text)*)))
    };
}

/// Fails a clause: name, what was found; what was expected.
#[macro_export]
macro_rules! fail {
    ($name:expr, $($found:expr),+; $($expected:expr),+) => {
        $crate::report::fail($name, format_args!($($found),+), format_args!($($expected),+))
    };
}

/// Checks a clause: name, condition, what was found; what was expected.
#[macro_export]
macro_rules! check {
    ($name:expr, $holds:expr, $($found:expr),+; $($expected:expr),+) => {
        if $holds {
            $crate::report::ok($name);
        } else {
            $crate::report::fail($name, format_args!($($found),+), format_args!($($expected),+));
        }
    };
}

/// Checks that a number is exactly this one.
pub fn equal(name: impl fmt::Display, found: u64, expected: u64) {
    check!(name, found == expected, "{found:#x}"; "{expected:#x}");
}

/// Checks `found` against what was asked, or notes it if nothing was.
pub fn against<T: fmt::Display + PartialEq>(name: impl fmt::Display, found: &T, asked: Option<&T>) {
    match asked {
        None => note!(name, "{found}"),
        Some(asked) => check!(name, found == asked, "{found}"; "{asked}"),
    }
}

/// Like [`against`], in hexadecimal.
pub fn address_against(name: impl fmt::Display, found: u64, asked: Option<u64>) {
    match asked {
        None => note!(name, "{found:#x}"),
        Some(asked) => equal(name, found, asked),
    }
}
