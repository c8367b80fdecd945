//! A guest in C, which has nothing of Rust but the interface.

use std::time::Duration;

use hv_kvm_test::{CheckResult, fixture};
use sandbox::{
    BuildError, CallError, CallOptions, CopyOnWrite, CrashKind, ElfError, ProgramError, ResolveError,
    Sandbox, SandboxBuilder, Status,
};
use sandbox_abi::layout;

use super::guest::{LIMIT, check, crash_of, error_of, expect, pattern, with_increment};
use super::test::Test;
use crate::guest::{Records, program};

pub(crate) const TESTS: &[Test] = &[
    ("c::typed", typed),
    ("c::each_call_is_one_exit", exits),
    ("c::bytes", bytes),
    ("c::texts_and_log_records", texts),
    ("c::host_function", host_function),
    ("c::wrong_types_are_refused_before_the_call", wrong_types),
    ("c::parameters_that_the_guest_cannot_decode", bad_parameters),
    ("c::state_is_restored", state),
    ("c::panic", panic),
    ("c::faults", faults),
    ("c::deadline", deadline),
    ("c::clones", clones),
    ("c::without_dirty_logs_it_is_refused", no_copies),
];

fn file() -> String {
    program("sandbox-c")
}

/// Reason why the tests cannot run.
pub(crate) fn skip_reason() -> Option<String> {
    hv_kvm_test::skip_reason(&[file()], false)
}

fn builder() -> SandboxBuilder {
    with_increment(SandboxBuilder::from_file(fixture(&file())).deadline(LIMIT))
}

fn works(sandbox: &mut Sandbox) -> CheckResult {
    let sum: u32 = sandbox.call("add", (40u32, 2u32))?;
    expect("a sum", &sum, &42)
}

/// The guest has no handlers that copy pages.
fn no_copies() -> CheckResult {
    match builder().copy_on_write(CopyOnWrite::Guest).build() {
        Err(BuildError::Program(ProgramError::Elf(ElfError::Layout(error)))) => {
            let is_expected = error.to_string().contains("COPIES_PAGES");
            check(is_expected, || format!("found {error}"))
        }
        other => Err(format!("not refused: {other:?}").into()),
    }
}

fn typed() -> CheckResult {
    let mut sandbox = builder().build()?;
    for (a, b) in [
        (2, 3),
        (0, 0),
        (u32::MAX, 0),
        (u32::MAX, u32::MAX),
        (127, 128),
        (1 << 31, 1 << 14),
    ] {
        let sum: u32 = sandbox.call("add", (a, b))?;
        expect("a sum", &sum, &a.wrapping_add(b))?;
    }
    Ok(())
}

fn exits() -> CheckResult {
    let mut sandbox = builder().build()?;
    let add = sandbox.function::<(u32, u32), u32>("add")?;
    let before = sandbox.exits();
    for n in 0..1000 {
        let sum = sandbox.invoke(&add, &(n, 1), CallOptions::default())?;
        expect("a sum", &sum, &(n + 1))?;
    }
    expect("exits of 1000 calls", &(sandbox.exits() - before), &1000)
}

/// Payloads of one part and of many.
fn bytes() -> CheckResult {
    let mut sandbox = builder().heap(4 << 20).build()?;
    let mut result = b"something else".to_vec();
    for len in [
        0,
        1,
        255,
        4096,
        0x1_0000 - 64,
        0x1_0000 - 63,
        0x1_0000,
        1 << 20,
        1,
    ] {
        let sent = pattern(len);
        sandbox.call_bytes("echo", &sent, &mut result)?;
        check(result == sent, || format!("an echo of {len} bytes is wrong"))?;
    }
    let error = sandbox.call_bytes("echo", &pattern(5 << 20), &mut result).err();
    check(matches!(error, Some(CallError::NoMemory)), || {
        format!("found {error:?}")
    })
}

fn texts() -> CheckResult {
    let records = Records::default();
    let sink = records.clone();
    let mut sandbox = builder().log_to(move |record| sink.push(&record), 10).build()?;
    let long = "\u{e9}".repeat(500);
    for name in ["you", &long] {
        let text: String = sandbox.call("greet", (name,))?;
        expect("a greeting", &text, &format!("Hello, {name}"))?;
        expect("the log", &records.take(), &vec![("INFO".to_owned(), text)])?;
    }
    let error = error_of::<_, String>(&mut sandbox, "greet", ("",))?;
    check(
        matches!(&error, CallError::Guest(error) if error.code == 3 && error.message == "there is nobody to greet"),
        || format!("found {error:?}"),
    )?;
    works(&mut sandbox)
}

fn host_function() -> CheckResult {
    let mut sandbox = builder().build()?;
    for value in [0, 126, 127, 1 << 40, u64::MAX - 2] {
        let found: u64 = sandbox.call("twice", (value,))?;
        expect("the value", &found, &(value + 2))?;
    }
    // While the host function runs, it calls the guest.
    let builder = SandboxBuilder::from_file(fixture(&file())).deadline(LIMIT);
    let mut sandbox = builder
        .register_with("increment", |guest, (value,): (u64,)| {
            let low = u32::try_from(value).unwrap_or(u32::MAX);
            Ok(u64::from(guest.call::<_, u32>("add", (low, 10u32))?))
        })
        .build()?;
    let found: u64 = sandbox.call("twice", (5u64,))?;
    expect("a value by calls in return", &found, &25)
}

fn wrong_types() -> CheckResult {
    let mut sandbox = builder().build()?;
    let before = sandbox.exits();
    for error in [
        error_of::<_, u64>(&mut sandbox, "add", (1u32, 2u32))?,
        error_of::<_, u32>(&mut sandbox, "add", (1i32, 2u32))?,
        error_of::<_, u32>(&mut sandbox, "count", ())?,
    ] {
        check(
            matches!(&error, CallError::Resolve(ResolveError::Signature { .. })),
            || format!("found {error:?}"),
        )?;
    }
    expect("exits", &sandbox.exits(), &before)?;
    let missing = SandboxBuilder::from_file(fixture(&file())).build().err();
    check(missing.is_some(), || {
        "a missing host function is no error".to_owned()
    })
}

fn bad_parameters() -> CheckResult {
    let mut sandbox = builder().build()?;
    for error in [
        sandbox.call_any::<_, u32>("add", &()).err(),
        sandbox.call_any::<_, u32>("add", &[1u8]).err(),
        sandbox.call_any::<_, u32>("add", &[0xffu8; 20]).err(),
        sandbox.call_any::<_, u32>("add", &(1u64 << 32, 1u32)).err(),
        sandbox.call_any::<_, String>("greet", &(100u32,)).err(),
    ] {
        check(matches!(&error, Some(CallError::BadParameters(_))), || {
            format!("found {error:?}")
        })?;
    }
    works(&mut sandbox)
}

fn state() -> CheckResult {
    let mut sandbox = builder().build()?;
    let snapshot = sandbox.snapshot()?;
    for _ in 0..3 {
        let counts: [u64; 2] = [sandbox.call("count", ())?, sandbox.call("count", ())?];
        expect("counts", &counts, &[1, 2])?;
        sandbox.restore(&snapshot)?;
    }
    Ok(())
}

fn panic() -> CheckResult {
    let mut sandbox = builder().build()?;
    let snapshot = sandbox.snapshot()?;
    let long = "x".repeat(3000);
    for text in ["on purpose: \u{e9}", "", &long] {
        let crash = crash_of::<_, ()>(&mut sandbox, "panic", (text,))?;
        expect("kind", &crash.kind, &CrashKind::Panic)?;
        expect("message", &crash.message.as_str(), &text)?;
        let location = crash.location.as_ref().ok_or("no location")?;
        check(location.file == "freestanding.c" && location.line > 0, || {
            format!("found {location:?}")
        })?;
        check(crash.backtrace.len() > 1, || {
            format!("found {:x?}", crash.backtrace)
        })?;
        sandbox.restore(&snapshot)?;
        works(&mut sandbox)?;
    }
    Ok(())
}

fn faults() -> CheckResult {
    let mut sandbox = builder().build()?;
    let snapshot = sandbox.snapshot()?;
    for name in ["null_read", "write_code", "null_read"] {
        let crash = crash_of::<_, ()>(&mut sandbox, name, ())?;
        check(matches!(crash.kind, CrashKind::Exception { .. }), || {
            format!("{name}: found {crash:?}")
        })?;
        let is_code = |address| (layout::IMAGE..layout::IMAGE_END).contains(&address);
        let (pc, address) = (crash.registers.pc, crash.registers.fault_address);
        let is_expected = if name == "null_read" {
            address == 0
        } else {
            is_code(address)
        };
        check(is_code(pc) && is_expected, || {
            format!("{name}: found {:x?}", crash.registers)
        })?;
        sandbox.restore(&snapshot)?;
        works(&mut sandbox)?;
    }
    Ok(())
}

fn deadline() -> CheckResult {
    let mut sandbox = builder().build()?;
    let snapshot = sandbox.snapshot()?;
    let spin = sandbox.function::<(), ()>("spin")?;
    let options = CallOptions::default().with_deadline(Duration::from_millis(50));
    let error = sandbox.invoke(&spin, &(), options).err();
    check(matches!(error, Some(CallError::Deadline { .. })), || {
        format!("found {error:?}")
    })?;
    check(matches!(sandbox.status(), Status::Poisoned(_)), || {
        format!("found {:?}", sandbox.status())
    })?;
    sandbox.restore(&snapshot)?;
    works(&mut sandbox)
}

fn clones() -> CheckResult {
    let mut sandbox = builder().build()?;
    let count: u64 = sandbox.call("count", ())?;
    expect("the first count", &count, &1)?;
    let snapshot = sandbox.snapshot()?;
    for _ in 0..5 {
        let mut clone = with_increment(SandboxBuilder::from_snapshot(&snapshot)).build()?;
        let count: u64 = clone.call("count", ())?;
        expect("the count of a clone", &count, &2)?;
    }
    Ok(())
}
