//! Report on the console: one line per clause, and a summary.
#![expect(unsafe_code, reason = "a function pointer is stored in an atomic")]

use core::fmt;
use core::ptr;
use core::sync::atomic::{AtomicPtr, AtomicU32, Ordering};

/// Writes one byte of the report.
pub type WriteByte = fn(u8);

/// The output, a [`WriteByte`]; null before [`set_output`].
static OUTPUT: AtomicPtr<()> = AtomicPtr::new(ptr::null_mut());
static OK: AtomicU32 = AtomicU32::new(0);
static FAILED: AtomicU32 = AtomicU32::new(0);

/// Sets the output of all further lines.
pub fn set_output(write_byte: WriteByte) {
    OUTPUT.store(write_byte as *mut (), Ordering::Relaxed);
}

struct Output;

impl fmt::Write for Output {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let output = OUTPUT.load(Ordering::Relaxed);
        if !output.is_null() {
            // SAFETY: the only nonnull values of the atomic are functions of this type, stored by `set_output`. Function
            // pointers have the size of other pointers on every supported target.
            let write_byte = unsafe { core::mem::transmute::<*mut (), WriteByte>(output) };
            text.bytes().for_each(write_byte);
        }
        Ok(())
    }
}

/// Increments a counter. Not by `fetch_add`: exclusive accesses are not guaranteed to work on uncached memory, as on arm64 with
/// the MMU off. Only one CPU reports.
fn increment(counter: &AtomicU32) {
    counter.store(counter.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
}

/// Prints a line.
pub fn line(text: fmt::Arguments<'_>) {
    // `Output` never fails, and no `Display` implementation here returns an error.
    let _ = fmt::write(&mut Output, format_args!("{text}\r\n"));
}

/// Prints `ok NAME`.
pub fn ok(name: impl fmt::Display) {
    increment(&OK);
    line(format_args!("ok {name}"));
}

/// Prints `FAIL NAME: found X, expected Y`.
pub fn fail(name: impl fmt::Display, found: fmt::Arguments<'_>, expected: fmt::Arguments<'_>) {
    increment(&FAILED);
    line(format_args!("FAIL {name}: found {found}, expected {expected}"));
}

/// Prints the summary. Returns whether no clause failed and at least one was checked.
#[must_use]
pub fn summary() -> bool {
    let (ok, failed) = (OK.load(Ordering::Relaxed), FAILED.load(Ordering::Relaxed));
    line(format_args!("conformance: {ok} ok, {failed} failed"));
    failed == 0 && ok > 0
}

/// Prints `note NAME …`: a value without an expectation or a clause.
#[macro_export]
macro_rules! note {
    ($name:expr, $($text:tt)*) => {
        $crate::report::line(format_args!("note {} {}", $name, format_args!($($text)*)))
    };
}

/// Fails a clause: name, format of the found value; format of the expected value.
#[macro_export]
macro_rules! fail {
    ($name:expr, $($found:expr),+; $($expected:expr),+) => {
        $crate::report::fail($name, format_args!($($found),+), format_args!($($expected),+))
    };
}

/// Checks a clause: name, condition, format of the found value; format of the expected value.
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

/// Checks that two numbers are equal.
pub fn check_equal(name: impl fmt::Display, found: u64, expected: u64) {
    check!(name, found == expected, "{found:#x}"; "{expected:#x}");
}

/// Checks that `found` equals the expectation; without one, prints a note.
pub fn check_expected<T: fmt::Display + PartialEq>(name: impl fmt::Display, found: &T, expected: Option<&T>) {
    match expected {
        None => note!(name, "{found}"),
        Some(expected) => check!(name, found == expected, "{found}"; "{expected}"),
    }
}

/// Like [`check_expected`], in hexadecimal.
pub fn check_expected_address(name: impl fmt::Display, found: u64, expected: Option<u64>) {
    match expected {
        None => note!(name, "{found:#x}"),
        Some(expected) => check_equal(name, found, expected),
    }
}
