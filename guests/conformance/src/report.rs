//! One line per clause, and their total.

use core::fmt;
use core::sync::atomic::{AtomicU32, Ordering};

use crate::machine::serial::Serial;

static OK: AtomicU32 = AtomicU32::new(0);
static FAILED: AtomicU32 = AtomicU32::new(0);

/// Prints a line.
pub(crate) fn line(text: fmt::Arguments<'_>) {
    // Sending to the serial port cannot fail; an error could only come from a `Display` of ours, and none makes one.
    let _ = fmt::write(&mut Serial, format_args!("{text}\r\n"));
}

/// Prints `ok NAME`.
pub(crate) fn ok(name: impl fmt::Display) {
    OK.fetch_add(1, Ordering::Relaxed);
    line(format_args!("ok {name}"));
}

/// Prints `FAIL NAME: found X, expected Y`.
pub(crate) fn fail(name: impl fmt::Display, found: fmt::Arguments<'_>, expected: fmt::Arguments<'_>) {
    FAILED.fetch_add(1, Ordering::Relaxed);
    line(format_args!("FAIL {name}: found {found}, expected {expected}"));
}

/// Prints the total; answers whether nothing failed and something was checked.
pub(crate) fn total() -> bool {
    let (ok, failed) = (OK.load(Ordering::Relaxed), FAILED.load(Ordering::Relaxed));
    line(format_args!("conformance: {ok} ok, {failed} failed"));
    failed == 0 && ok > 0
}

/// Prints `note NAME …`: something found that nobody asked for.
macro_rules! note {
    ($name:expr, $($text:tt)*) => {
        $crate::report::line(format_args!("note {} {}", $name, format_args!($($text)*)))
    };
}

/// Fails a clause: name, what was found; what was expected.
macro_rules! fail {
    ($name:expr, $($found:expr),+; $($expected:expr),+) => {
        $crate::report::fail($name, format_args!($($found),+), format_args!($($expected),+))
    };
}

/// Checks a clause: name, condition, what was found; what was expected.
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
pub(crate) fn equal(name: impl fmt::Display, found: u64, expected: u64) {
    check!(name, found == expected, "{found:#x}"; "{expected:#x}");
}

/// Checks `found` against what was asked, or notes it if nothing was.
pub(crate) fn against<T: fmt::Display + PartialEq>(name: impl fmt::Display, found: &T, asked: Option<&T>) {
    match asked {
        None => note!(name, "{found}"),
        Some(asked) => check!(name, found == asked, "{found}"; "{asked}"),
    }
}

/// Like [`against`], in hexadecimal.
pub(crate) fn address_against(name: impl fmt::Display, found: u64, asked: Option<u64>) {
    match asked {
        None => note!(name, "{found:#x}"),
        Some(asked) => equal(name, found, asked),
    }
}
