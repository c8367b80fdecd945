//! Parameters and results of all lengths.

use hv_kvm_test::CheckResult;
use sandbox::{CallError, Sandbox, Status};

use super::Test;
use super::guest::{Result, builder, check, expect, load, pattern, sandbox, with_increment, works};

pub(crate) const TESTS: &[Test] = &[
    ("payload::lengths_around_the_window", window),
    ("payload::one_mebibyte", one_mebibyte),
    ("payload::long_in_parts_both_ways", long),
    ("payload::longer_than_the_limit", limit),
    ("payload::longer_than_the_heap", no_memory),
];

/// Length of the longest payload that needs one message: that of a window without a header.
const CAPACITY: usize = 0x1_0000 - 64;

/// Sends bytes and checks that they come back. Returns the number of exits.
fn echo(sandbox: &mut Sandbox, len: usize) -> Result<u64> {
    let sent = pattern(len);
    let mut result = Vec::new();
    let before = sandbox.exits();
    sandbox.call_bytes("echo", &sent, &mut result)?;
    check(result == sent, || {
        let at = result
            .iter()
            .zip(&sent)
            .position(|(found, expected)| found != expected);
        format!(
            "an echo of {len} bytes has {} bytes, differs at {at:?}",
            result.len()
        )
    })?;
    Ok(sandbox.exits() - before)
}

/// Exits of an echo: one for each part in each direction, where the last part and the first one of the result are one exit.
fn parts(len: usize, capacity: usize) -> Result<u64> {
    Ok(u64::try_from(2 * len.div_ceil(capacity).max(1) - 1)?)
}

fn window() -> CheckResult {
    let mut sandbox = sandbox()?;
    for len in [
        1024,
        1025,
        CAPACITY - 1,
        CAPACITY,
        CAPACITY + 1,
        2 * CAPACITY,
        2 * CAPACITY + 1,
    ] {
        let exits = echo(&mut sandbox, len)?;
        expect("exits", &exits, &parts(len, CAPACITY)?)?;
    }
    works(&mut sandbox)
}

fn one_mebibyte() -> CheckResult {
    let mut sandbox = sandbox()?;
    for _ in 0..3 {
        let exits = echo(&mut sandbox, 1 << 20)?;
        expect("exits", &exits, &parts(1 << 20, CAPACITY)?)?;
    }
    works(&mut sandbox)
}

fn long() -> CheckResult {
    let builder = load()?.heap(48 << 20).window(0x1000);
    let mut sandbox = with_increment(builder).build()?;
    let len = (10 << 20) + 4321;
    let exits = echo(&mut sandbox, len)?;
    expect("exits", &exits, &parts(len, 0x1000 - 64)?)?;
    works(&mut sandbox)?;
    // The image stays, because the emulator of the arm64 lab executes old instructions of pages that are used again.
    std::mem::forget(sandbox.snapshot()?);
    Ok(())
}

fn limit() -> CheckResult {
    let mut sandbox = with_increment(builder()?.max_payload(100_000)).build()?;
    echo(&mut sandbox, 100_000)?;
    let before = sandbox.exits();
    let error = sandbox
        .call_bytes("echo", &vec![0; 100_001], &mut Vec::new())
        .err();
    check(
        matches!(
            error,
            Some(CallError::TooLarge {
                len: 100_001,
                max: 100_000
            })
        ),
        || format!("found {error:?}"),
    )?;
    expect("exits", &sandbox.exits(), &before)?;
    works(&mut sandbox)
}

fn no_memory() -> CheckResult {
    let mut sandbox = sandbox()?;
    for _ in 0..3 {
        // The heap has 4 MiB.
        let error = sandbox
            .call_bytes("echo", &vec![0; 5 << 20], &mut Vec::new())
            .err();
        check(matches!(error, Some(CallError::NoMemory)), || {
            format!("found {error:?}")
        })?;
        expect("status", &sandbox.status(), &Status::Ready)?;
        echo(&mut sandbox, 1 << 20)?;
    }
    works(&mut sandbox)
}
