//! Panics, and exceptions of the CPU.

use hv_core::AccessKind;
use hv_kvm_test::CheckResult;
use sandbox::{CallError, CrashKind, Sandbox, SnapshotError, UnexpectedExit};
use sandbox_abi::layout;

use super::Test;
use super::guest::{check, crash_of, error_of, expect, sandbox, start, works};

pub(crate) const TESTS: &[Test] = &[
    ("panic::has_message_place_and_stack", panic),
    ("panic::poisons_the_sandbox", poisoned),
    ("panic::out_of_memory", out_of_memory),
    ("fault::null_read", null_read),
    ("fault::write_to_an_address_without_memory", unmapped_write),
    ("fault::illegal_instruction", illegal),
    ("fault::write_to_text", write_text),
    ("fault::write_to_pages_of_the_host", write_host),
    ("fault::access_to_page_tables", access_tables),
    ("fault::execution_of_data", execute_heap),
    ("fault::stack_overflow", stack_overflow),
    ("fault::physical_address_without_memory", no_memory),
    ("fault::one_after_the_other", many),
];

/// Returns to the start, and checks that the sandbox works.
fn recover(sandbox: &mut Sandbox) -> CheckResult {
    sandbox.restore(&start()?)?;
    works(sandbox)
}

fn panic() -> CheckResult {
    let mut sandbox = sandbox()?;
    let long = "x".repeat(3000);
    for message in ["on purpose: \u{e9}", "", &long] {
        let crash = crash_of::<_, ()>(&mut sandbox, "panic", (message,))?;
        expect("kind", &crash.kind, &CrashKind::Panic)?;
        expect("message", &crash.message.as_str(), &message)?;
        let location = crash.location.as_ref().ok_or("no location")?;
        check(location.file.ends_with("main.rs") && location.line > 0, || {
            format!("found {location:?}")
        })?;
        let is_code = |address| (layout::IMAGE..layout::IMAGE_END).contains(&address);
        check(
            crash.backtrace.len() > 1 && crash.backtrace.iter().all(|frame| is_code(frame.address)),
            || format!("found {:x?}", crash.backtrace),
        )?;
        recover(&mut sandbox)?;
    }
    Ok(())
}

fn poisoned() -> CheckResult {
    let mut sandbox = sandbox()?;
    crash_of::<_, ()>(&mut sandbox, "panic", ("",))?;
    let before = sandbox.exits();
    for _ in 0..2 {
        let error = error_of::<_, ()>(&mut sandbox, "nop", ())?;
        check(matches!(error, CallError::NotReady(_)), || {
            format!("found {error:?}")
        })?;
        let error = sandbox.snapshot().err();
        check(matches!(error, Some(SnapshotError::NotReady(_))), || {
            format!("found {error:?}")
        })?;
    }
    expect("exits", &sandbox.exits(), &before)?;
    recover(&mut sandbox)
}

fn out_of_memory() -> CheckResult {
    let mut sandbox = sandbox()?;
    // The heap has 1024 pages.
    let crash = crash_of::<_, u32>(&mut sandbox, "keep", (2000u32,))?;
    expect("kind", &crash.kind, &CrashKind::OutOfMemory)?;
    recover(&mut sandbox)?;
    let pages: u32 = sandbox.call("keep", (800u32,))?;
    expect("pages", &pages, &800)?;
    let crash = crash_of::<_, u32>(&mut sandbox, "keep", (800u32,))?;
    expect("kind", &crash.kind, &CrashKind::OutOfMemory)?;
    recover(&mut sandbox)
}

/// What KVM tells of an exception.
#[derive(Clone, Copy)]
enum Expected {
    Read,
    Write,
    Execute,
    Illegal,
}

/// Whether the error code that the CPU gave is that of `expected`.
fn is_expected(expected: Expected, vector: u64, code: u64) -> bool {
    if cfg!(target_arch = "x86_64") {
        match expected {
            // Page faults; W/R and I/D are bits 1 and 4 of the code.
            Expected::Read => vector == 14 && code & 0x12 == 0,
            Expected::Write => vector == 14 && code & 0x12 == 2,
            Expected::Execute => vector == 14 && code & 0x12 == 0x10,
            Expected::Illegal => vector == 6,
        }
    } else if cfg!(target_arch = "aarch64") {
        // ESR_EL1.EC, and WnR of data aborts.
        let (class, is_write) = (code >> 26 & 0x3f, code & 1 << 6 != 0);
        match expected {
            Expected::Read => class == 0x25 && !is_write,
            Expected::Write => class == 0x25 && is_write,
            Expected::Execute => class == 0x21,
            Expected::Illegal => class == 0,
        }
    } else {
        // scause.
        code == match expected {
            Expected::Read => 13,
            Expected::Write => 15,
            Expected::Execute => 12,
            Expected::Illegal => 2,
        }
    }
}

/// Checks the exception that a call causes; `address` is that of the access, if there is one.
fn check_fault(
    sandbox: &mut Sandbox,
    crash: &sandbox::Crash,
    expected: Expected,
    address: Option<u64>,
) -> CheckResult {
    let CrashKind::Exception { vector } = crash.kind else {
        return Err(format!("found {crash:?}").into());
    };
    let registers = &crash.registers;
    check(is_expected(expected, vector, registers.error_code), || {
        format!("vector {vector}, code {:#x}: {crash:?}", registers.error_code)
    })?;
    check(!crash.message.is_empty(), || {
        "no name of the exception".to_owned()
    })?;
    if let Some(address) = address {
        expect("fault address", &registers.fault_address, &address)?;
    }
    if matches!(expected, Expected::Execute) {
        expect("pc", &Some(registers.pc), &address)?;
    } else {
        let code = layout::IMAGE..layout::IMAGE_END;
        check(code.contains(&registers.pc), || format!("pc {:#x}", registers.pc))?;
        check(crash.backtrace.len() > 1, || {
            format!("found {:x?}", crash.backtrace)
        })?;
    }
    recover(sandbox)
}

fn check_read(address: u64) -> CheckResult {
    let mut sandbox = sandbox()?;
    let crash = crash_of::<_, Vec<u8>>(&mut sandbox, "peek", (address, 1u64))?;
    check_fault(&mut sandbox, &crash, Expected::Read, Some(address))
}

fn check_write(address: u64) -> CheckResult {
    let mut sandbox = sandbox()?;
    let crash = crash_of::<_, ()>(&mut sandbox, "poke", (address, vec![1u8]))?;
    check_fault(&mut sandbox, &crash, Expected::Write, Some(address))
}

fn null_read() -> CheckResult {
    check_read(0)?;
    check_read(0xfff)
}

fn unmapped_write() -> CheckResult {
    check_write(0x1000_0000)?;
    check_write(layout::MEMORY_END)
}

fn illegal() -> CheckResult {
    let mut sandbox = sandbox()?;
    let crash = crash_of::<_, ()>(&mut sandbox, "illegal", ())?;
    check_fault(&mut sandbox, &crash, Expected::Illegal, None)
}

fn write_text() -> CheckResult {
    let code: u64 = sandbox()?.call("code", ())?;
    check_write(code)
}

fn write_host() -> CheckResult {
    check_write(layout::BOOT_INFO)?;
    check_write(layout::INBOX)?;
    if cfg!(target_arch = "x86_64") {
        check_write(layout::IDT)?;
        check_write(layout::GDT)?;
    }
    Ok(())
}

fn access_tables() -> CheckResult {
    let tables: u64 = sandbox()?.call("map_all", ())?;
    check_read(tables)?;
    check_write(tables)
}

fn execute_heap() -> CheckResult {
    let mut sandbox = sandbox()?;
    let address: u64 = sandbox.call("remember", ([0u8; 64].as_slice(),))?;
    let address = address.next_multiple_of(4);
    let crash = crash_of::<_, ()>(&mut sandbox, "execute", (address,))?;
    check_fault(&mut sandbox, &crash, Expected::Execute, Some(address))
}

fn stack_overflow() -> CheckResult {
    let mut sandbox = sandbox()?;
    let result: u64 = sandbox.call("recurse", (100u64,))?;
    expect("calls", &result, &100)?;
    let crash = crash_of::<_, u64>(&mut sandbox, "recurse", (1_000_000u64,))?;
    expect("kind", &crash.kind, &CrashKind::StackOverflow)?;
    check(crash.backtrace.len() > 10, || {
        format!("found {:x?}", crash.backtrace)
    })?;
    recover(&mut sandbox)
}

fn no_memory() -> CheckResult {
    let mut sandbox = sandbox()?;
    for (address, kind) in [
        (0x1000_0000u64, AccessKind::Read),
        (0x1000_0008, AccessKind::Write),
    ] {
        sandbox.call::<_, u64>("map_all", ())?;
        let crash = match kind {
            AccessKind::Read => crash_of::<_, Vec<u8>>(&mut sandbox, "peek", (address, 1u64))?,
            AccessKind::Write => crash_of::<_, ()>(&mut sandbox, "poke", (address, vec![1u8]))?,
        };
        let CrashKind::Exit(UnexpectedExit::Access(access)) = &crash.kind else {
            return Err(format!("found {crash:?}").into());
        };
        expect("address", &(access.address, access.kind), &(address, kind))?;
        recover(&mut sandbox)?;
    }
    Ok(())
}

fn many() -> CheckResult {
    let mut sandbox = sandbox()?;
    let code: u64 = sandbox.call("code", ())?;
    for _ in 0..20 {
        let crash = crash_of::<_, ()>(&mut sandbox, "illegal", ())?;
        check_fault(&mut sandbox, &crash, Expected::Illegal, None)?;
        let crash = crash_of::<_, ()>(&mut sandbox, "poke", (code, vec![1u8]))?;
        check_fault(&mut sandbox, &crash, Expected::Write, Some(code))?;
        crash_of::<_, u64>(&mut sandbox, "recurse", (u64::MAX,))?;
        recover(&mut sandbox)?;
    }
    Ok(())
}
