//! Host functions.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use hv_kvm_test::CheckResult;
use sandbox::{BuildError, CallError, Cause, CrashKind, HostError, Status};

use super::Test;
use super::guest::{builder, check, crash_of, error_of, expect, sandbox, start, works};

pub(crate) const TESTS: &[Test] = &[
    ("host::function_is_called", called),
    ("host::function_keeps_state", state),
    ("host::error_reaches_the_guest", error),
    ("host::function_calls_the_guest", nested),
    ("host::crash_in_a_nested_call_ends_the_outer_one", nested_crash),
    ("host::running_function_is_busy", busy),
    ("host::panic_poisons_the_sandbox", panic),
    ("host::missing_function_is_refused", missing),
];

fn called() -> CheckResult {
    let mut sandbox = sandbox()?;
    let before = sandbox.exits();
    let value: u64 = sandbox.call("host_loop", (500u64,))?;
    expect("the last result", &value, &500)?;
    expect("exits", &(sandbox.exits() - before), &501)
}

fn state() -> CheckResult {
    let calls = Arc::new(AtomicU64::new(0));
    let shared = Arc::clone(&calls);
    let mut sum = 0;
    let mut sandbox = builder()?
        .register("increment", move |value: u64| {
            shared.fetch_add(1, Ordering::Relaxed);
            sum += value + 1;
            sum
        })
        .build()?;
    // 1, 1 + 2, 3 + 4, 7 + 8.
    let value: u64 = sandbox.call("host_loop", (4u64,))?;
    expect("the last sum", &value, &15)?;
    expect("calls", &calls.load(Ordering::Relaxed), &4)
}

fn error() -> CheckResult {
    let mut sandbox = builder()?
        .register_with("increment", |_, (value,): (u64,)| match value {
            2 => Err(HostError::new(77, "no more")),
            value => Ok(value + 1),
        })
        .build()?;
    let value: u64 = sandbox.call("host_loop", (2u64,))?;
    expect("a result", &value, &2)?;
    // The demo has no use for the error, so it panics with its text.
    let crash = crash_of::<_, u64>(&mut sandbox, "host_loop", (3u64,))?;
    expect("kind", &crash.kind, &CrashKind::Panic)?;
    check(
        crash.message.contains("no more") && crash.message.contains("77"),
        || format!("found {:?}", crash.message),
    )?;
    sandbox.restore(&start()?)?;
    let value: u64 = sandbox.call("host_loop", (1u64,))?;
    expect("a result", &value, &1)
}

fn nested() -> CheckResult {
    let mut sandbox = builder()?
        .register_with("increment", |call, (value,): (u64,)| {
            let sum: u32 = call.call("add", (40u32, 2u32))?;
            let mut echo = Vec::new();
            call.call_bytes("echo", &vec![5; 100_000], &mut echo)?;
            let count: u64 = call.call("count", ())?;
            if (sum, echo.len()) != (42, 100_000) || echo.iter().any(|byte| *byte != 5) {
                return Err(HostError::new(1, "wrong results"));
            }
            Ok(value + count)
        })
        .build()?;
    let value: u64 = sandbox.call("host_loop", (4u64,))?;
    expect("the sum of the counts", &value, &(1 + 2 + 3 + 4))?;
    expect("status", &sandbox.status(), &Status::Ready)
}

fn nested_crash() -> CheckResult {
    let mut sandbox = builder()?
        .register_with("increment", |call, (value,): (u64,)| {
            call.call::<_, ()>("panic", ("inside",))?;
            Ok(value)
        })
        .build()?;
    let crash = crash_of::<_, u64>(&mut sandbox, "host_loop", (1u64,))?;
    check(crash.message == "inside", || format!("found {:?}", crash.message))?;
    sandbox.restore(&start()?)?;
    let sum: u32 = sandbox.call("add", (1u32, 2u32))?;
    expect("a sum", &sum, &3)
}

fn busy() -> CheckResult {
    let mut sandbox = builder()?
        .register_with("increment", |call, (_,): (u64,)| {
            // This calls `increment` again, which runs.
            Ok(call.call::<_, u64>("host_loop", (1u64,))?)
        })
        .build()?;
    let crash = crash_of::<_, u64>(&mut sandbox, "host_loop", (1u64,))?;
    check(crash.message.contains("is running"), || {
        format!("found {:?}", crash.message)
    })
}

fn panic() -> CheckResult {
    let mut sandbox = builder()?
        .register("increment", |value: u64| {
            if value == 1 {
                // A panic without its text on the terminal.
                resume_unwind(Box::new("on purpose"));
            }
            value + 1
        })
        .build()?;
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        sandbox.call::<_, u64>("host_loop", (2u64,)).is_ok()
    }));
    check(panicked.is_err(), || format!("found {panicked:?}"))?;
    expect("status", &sandbox.status(), &Status::Poisoned(Cause::HostPanic))?;
    let error = error_of::<_, ()>(&mut sandbox, "nop", ())?;
    check(matches!(error, CallError::NotReady(_)), || {
        format!("found {error:?}")
    })?;
    sandbox.restore(&start()?)?;
    let value: u64 = sandbox.call("host_loop", (1u64,))?;
    expect("a result", &value, &1)
}

fn missing() -> CheckResult {
    let error = builder()?.build().err();
    check(
        matches!(&error, Some(BuildError::MissingImport { name }) if name == "increment"),
        || format!("found {error:?}"),
    )?;
    let error = builder()?.register("increment", |value: u32| value).build().err();
    check(matches!(&error, Some(BuildError::ImportSignature { .. })), || {
        format!("found {error:?}")
    })?;
    works(&mut sandbox()?)
}
