//! Calls, with right and wrong types.

use hv_kvm_test::CheckResult;
use sandbox::{CallError, CallOptions, ResolveError, Status};

use super::guest::{check, count, error_of, expect, load, pattern, sandbox, with_increment, works};
use super::test::Test;

pub(crate) const TESTS: &[Test] = &[
    ("call::first_call_after_the_entry", first),
    ("call::typed", typed),
    ("call::bytes", bytes),
    ("call::each_call_is_one_exit", exits),
    ("call::wrong_types_are_refused_before_the_call", wrong_types),
    ("call::unknown_functions_are_refused_before_the_call", unknown),
    ("call::parameters_that_the_guest_cannot_decode", bad_parameters),
    ("call::results_that_the_host_cannot_decode", bad_result),
];

fn first() -> CheckResult {
    let mut sandbox = with_increment(load()?).build()?;
    works(&mut sandbox)?;
    for name in ["add", "echo", "host_loop", "peek"] {
        check(sandbox.functions().any(|function| function.name == name), || {
            format!("the table has no {name}")
        })?;
    }
    Ok(())
}

fn typed() -> CheckResult {
    let mut sandbox = sandbox()?;
    sandbox.call::<_, ()>("nop", ())?;
    for (a, b) in [(2, 3), (0, 0), (u32::MAX, 0), (u32::MAX, u32::MAX)] {
        let sum: u32 = sandbox.call("add", (a, b))?;
        expect("a sum", &sum, &a.wrapping_add(b))?;
    }
    expect("the first count", &count(&mut sandbox)?, &1)?;
    expect("the second count", &count(&mut sandbox)?, &2)
}

fn bytes() -> CheckResult {
    let mut sandbox = sandbox()?;
    let mut result = b"something else".to_vec();
    for len in [0, 1, 255, 4096, 1, 0] {
        let sent = pattern(len);
        sandbox.call_bytes("echo", &sent, &mut result)?;
        expect("an echo", &result, &sent)?;
    }
    Ok(())
}

fn exits() -> CheckResult {
    let mut sandbox = sandbox()?;
    let nop = sandbox.function::<(), ()>("nop")?;
    let before = sandbox.exits();
    for _ in 0..1000 {
        sandbox.invoke(&nop, &(), CallOptions::default())?;
    }
    expect("exits of 1000 calls", &(sandbox.exits() - before), &1000)
}

fn wrong_types() -> CheckResult {
    let mut sandbox = sandbox()?;
    let before = sandbox.exits();
    let errors = [
        error_of::<_, u64>(&mut sandbox, "add", (1u32, 2u32))?,
        error_of::<_, u32>(&mut sandbox, "add", (1i32, 2u32))?,
        error_of::<_, u32>(&mut sandbox, "add", (1u32,))?,
        error_of::<_, u32>(&mut sandbox, "nop", ())?,
    ];
    for error in errors {
        check(
            matches!(&error, CallError::Resolve(ResolveError::Signature { .. })),
            || format!("found {error:?}"),
        )?;
    }
    let error = error_of::<_, Vec<u8>>(&mut sandbox, "echo", (vec![1u8],))?;
    check(
        matches!(&error, CallError::Resolve(ResolveError::TakesBytes { .. })),
        || format!("found {error:?}"),
    )?;
    let error = sandbox.call_bytes("add", &[1, 2], &mut Vec::new()).err();
    check(
        matches!(&error, Some(CallError::Resolve(ResolveError::TakesTypes { .. }))),
        || format!("found {error:?}"),
    )?;
    expect("exits", &sandbox.exits(), &before)?;
    works(&mut sandbox)
}

fn unknown() -> CheckResult {
    let mut sandbox = sandbox()?;
    let before = sandbox.exits();
    for name in ["", "ad", "adds", "increment"] {
        let error = error_of::<_, u32>(&mut sandbox, name, (1u32, 2u32))?;
        check(
            matches!(&error, CallError::Resolve(ResolveError::NotFound { name: found }) if found == name),
            || format!("found {error:?}"),
        )?;
    }
    expect("exits", &sandbox.exits(), &before)?;
    works(&mut sandbox)
}

fn bad_parameters() -> CheckResult {
    let mut sandbox = sandbox()?;
    // Arrays have no prefix of their length: too short, and a number that does not end.
    for error in [
        sandbox.call_any::<_, u32>("add", &()).err(),
        sandbox.call_any::<_, u32>("add", &[1u8]).err(),
        sandbox.call_any::<_, u32>("add", &[0xffu8; 20]).err(),
    ] {
        check(matches!(&error, Some(CallError::BadParameters(_))), || {
            format!("found {error:?}")
        })?;
    }
    expect("status", &sandbox.status(), &Status::Ready)?;
    works(&mut sandbox)
}

fn bad_result() -> CheckResult {
    let mut sandbox = sandbox()?;
    let error = sandbox.call_any::<_, [u64; 9]>("add", &(1u32, 2u32)).err();
    check(matches!(&error, Some(CallError::Decode(_))), || {
        format!("found {error:?}")
    })?;
    works(&mut sandbox)
}
