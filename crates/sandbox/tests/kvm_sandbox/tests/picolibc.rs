//! A guest in C with the C library picolibc.

use std::env::consts::ARCH;

use hv_kvm_test::{CheckResult, fixture};
use sandbox::{CallError, CrashKind, Sandbox, SandboxBuilder};

use super::guest::{LIMIT, check, crash_of, error_of, expect};
use super::test::Test;
use crate::guest::Records;

pub(crate) const TESTS: &[Test] = &[
    ("picolibc::printf_is_the_log", printf),
    ("picolibc::malloc_and_qsort", sort),
    ("picolibc::errno_of_malloc", errno),
    ("picolibc::memory_is_freed", freed),
    ("picolibc::restore", restore),
    ("picolibc::abort", abort),
];

/// `ENOMEM` of picolibc.
const ENOMEM: u32 = 12;

fn file() -> String {
    format!("guests/{ARCH}/sandbox-picolibc.elf")
}

/// Reason why the tests cannot run.
pub(crate) fn skip_reason() -> Option<String> {
    if ARCH == "x86_64" {
        return Some("Debian has no package of picolibc for x86_64".to_owned());
    }
    hv_kvm_test::skip_reason(&[file()], false)
}

fn builder() -> SandboxBuilder {
    SandboxBuilder::from_file(fixture(&file())).deadline(LIMIT)
}

/// Checks that a call works.
fn works(sandbox: &mut Sandbox) -> CheckResult {
    let text: String = sandbox.call("describe", ("x", 255u32))?;
    expect("a text", &text.as_str(), &"x: 255 = 0xff, half of it is 127.50")
}

fn printf() -> CheckResult {
    let records = Records::default();
    let sink = records.clone();
    let builder = builder().log_to(move |record| sink.push(&record), 10);
    let mut sandbox = builder.build()?;
    let line = |text: &str| vec![("INFO".to_owned(), text.to_owned())];
    for (name, value, expected) in [
        ("one", 1, "one: 1 = 0x1, half of it is 0.50"),
        (
            "",
            u32::MAX,
            ": 4294967295 = 0xffffffff, half of it is 2147483647.50",
        ),
    ] {
        let text: String = sandbox.call("describe", (name, value))?;
        expect("a text", &text.as_str(), &expected)?;
        expect("the log", &records.take(), &line(expected))?;
    }
    // A long line becomes two records.
    let long = "n".repeat(300);
    let text: String = sandbox.call("describe", (long.as_str(), 2u32))?;
    let lines: Vec<String> = records.take().into_iter().map(|(_, text)| text).collect();
    expect("the records of a long line", &lines.len(), &2)?;
    expect("a long line", &lines.concat(), &text)
}

fn sort() -> CheckResult {
    let mut sandbox = builder().build()?;
    for len in [0u32, 1, 2, 1000, 100_000] {
        let values: Vec<u32> = (0..len).map(|n| n.wrapping_mul(0x9e37_79b9)).collect();
        let sorted: Vec<u32> = sandbox.call("sort", (values.as_slice(),))?;
        let mut expected = values;
        expected.sort_unstable();
        check(sorted == expected, || format!("{len} numbers are not sorted"))?;
    }
    let error = sandbox.call_any::<_, Vec<u32>>("sort", &(1000u32,)).err();
    check(matches!(&error, Some(CallError::BadParameters(_))), || {
        format!("found {error:?}")
    })
}

fn errno() -> CheckResult {
    let mut sandbox = builder().heap(8 << 20).build()?;
    let error = error_of::<_, u64>(&mut sandbox, "allocate", (5u64 << 20,))?;
    check(
        matches!(&error, CallError::Guest(error) if error.code == ENOMEM && !error.message.is_empty()),
        || format!("found {error:?}"),
    )?;
    works(&mut sandbox)
}

fn freed() -> CheckResult {
    let mut sandbox = builder().heap(8 << 20).build()?;
    for _ in 0..20 {
        let len: u64 = sandbox.call("allocate", (3u64 << 20,))?;
        expect("the length", &len, &(3 << 20))?;
    }
    works(&mut sandbox)
}

fn restore() -> CheckResult {
    let mut sandbox = builder().build()?;
    works(&mut sandbox)?;
    let snapshot = sandbox.snapshot()?;
    for _ in 0..3 {
        works(&mut sandbox)?;
        sandbox.restore(&snapshot)?;
    }
    let mut clone = Sandbox::clone_from(&snapshot)?;
    works(&mut clone)
}

fn abort() -> CheckResult {
    let mut sandbox = builder().build()?;
    let snapshot = sandbox.snapshot()?;
    let crash = crash_of::<_, ()>(&mut sandbox, "abort", ())?;
    expect("kind", &crash.kind, &CrashKind::Panic)?;
    expect("message", &crash.message.as_str(), &"abort")?;
    sandbox.restore(&snapshot)?;
    works(&mut sandbox)
}
