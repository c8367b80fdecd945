//! Memory of guests.

use std::time::Duration;

use hv_kvm_test::expect;
use sandbox::{CallError, CrashKind};

use crate::guest::{Test, TestResult, builder, crash, sandbox};

pub(crate) const TESTS: &[Test] = &[
    ("sandbox::memory::state_stays_between_calls", state),
    ("sandbox::memory::allocator", allocator),
    ("sandbox::memory::copies_and_comparisons", copies),
    ("sandbox::memory::large_payloads", large_payloads),
    (
        "sandbox::memory::payloads_that_do_not_fit",
        payloads_that_do_not_fit,
    ),
    ("sandbox::memory::out_of_memory", out_of_memory),
];

/// Time for large payloads in an emulated machine.
const SLOW: Duration = Duration::from_mins(2);

fn state() -> TestResult {
    let mut sandbox = sandbox()?;
    for n in 1..=3 {
        expect("count", &sandbox.call::<_, u64>("count", ())?, &n)?;
    }
    expect(
        "what the start wrote",
        &sandbox.call::<_, u64>("started", ())?,
        &41,
    )
}

fn allocator() -> TestResult {
    let mut sandbox = sandbox()?;
    expect("blocks", &sandbox.call::<_, u32>("churn", (600u32,))?, &600)?;
    for _ in 0..20 {
        expect("pages", &sandbox.call::<_, u32>("dirty", (500u32,))?, &500)?;
    }
    Ok(())
}

fn copies() -> TestResult {
    let case: u32 = builder().deadline(SLOW).build()?.call("copies", (100u32,))?;
    expect("the first case that failed", &case, &0)
}

fn large_payloads() -> TestResult {
    let mut sandbox = builder().heap(16 << 20).deadline(SLOW).build()?;
    let len = 1_000_000u32;
    let payload: Vec<u8> = sandbox.call("produce", (len,))?;
    let expected: Vec<u8> = (0..len).map(|at| (at % 251).to_le_bytes()[0]).collect();
    expect("payload of the guest", &(payload == expected), &true)?;
    expect(
        "payload of the host",
        &sandbox.call::<_, u32>("consume", (payload,))?,
        &len,
    )
}

fn payloads_that_do_not_fit() -> TestResult {
    let mut sandbox = builder().heap(2 << 20).deadline(SLOW).build()?;
    let exits = sandbox.exits();
    match sandbox.call_bytes("echo", &vec![0; 4 << 20], &mut Vec::new()) {
        Err(CallError::NoMemory) => {}
        other => return Err(format!("no refusal: {other:?}").into()),
    }
    expect("exits of a refusal", &(sandbox.exits() - exits), &1)?;
    // The host's result does not fit into the guest's memory together with its parameters.
    match sandbox.call_bytes("reversed", &vec![0; 1_400_000], &mut Vec::new()) {
        Err(CallError::Guest(error)) => {
            let text = "host function: no memory for a result of 1400000 bytes";
            expect("error", &error.message.as_str(), &text)?;
        }
        other => return Err(format!("no error: {other:?}").into()),
    }
    sandbox.call::<_, ()>("nop", ())?;
    Ok(())
}

fn out_of_memory() -> TestResult {
    let crash = crash(sandbox()?.call::<_, ()>("exhaust", ()))?;
    expect("kind", &crash.kind, &CrashKind::OutOfMemory)?;
    let text = "memory allocation of 10000 bytes failed";
    expect("text", &crash.message.as_str(), &text)
}
