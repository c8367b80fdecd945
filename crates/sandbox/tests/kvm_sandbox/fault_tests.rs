//! Guests that stop.

use std::env::consts::ARCH;

use hv_kvm_test::expect;
use object::{Object, ObjectSegment};
use sandbox::{CoreDumpError, CoreLimits, CrashKind, Registers};
use sandbox_abi::layout;

use crate::guest::{Test, TestResult, builder, crash, sandbox};

pub(crate) const TESTS: &[Test] = &[
    ("sandbox::fault::panic", panic),
    ("sandbox::fault::panic_in_a_panic", panic_twice),
    ("sandbox::fault::core_dump", core_dump),
    ("sandbox::fault::read_of_a_null_pointer", null_read),
    ("sandbox::fault::write_to_memory_of_the_host", host_write),
    ("sandbox::fault::write_to_code", code_write),
    ("sandbox::fault::execution_of_the_heap", heap_execution),
    ("sandbox::fault::undefined_instruction", undefined),
    ("sandbox::fault::stack_overflow", stack_overflow),
];

fn panic() -> TestResult {
    let mut sandbox = sandbox()?;
    let exits = sandbox.exits();
    let crash = crash(sandbox.call::<_, ()>("panic", ("the reason ü",)))?;
    expect("exits", &(sandbox.exits() - exits), &1)?;
    expect("kind", &crash.kind, &CrashKind::Panic)?;
    expect("text", &crash.message.as_str(), &"the reason ü")?;
    let location = crash.location.as_ref().ok_or("no location")?;
    expect("file", &location.file.ends_with("faults.rs"), &true)?;
    expect("stack", &(crash.backtrace.len() > 3), &true)
}

/// A core dump has the registers of the crash and the stack, at their virtual addresses.
fn core_dump() -> TestResult {
    let mut sandbox = sandbox()?;
    let snapshot = sandbox.snapshot()?;
    let outbox = sandbox.call::<_, u64>("outbox", ())?;
    let crash = crash(sandbox.call::<_, ()>("panic", ("the reason",)))?;
    let mut file = Vec::new();
    let summary = sandbox.core_dump(&crash, CoreLimits::default(), &mut file)?;
    expect("incomplete", &summary.is_incomplete, &false)?;

    let core = object::File::parse(&*file)?;
    expect("kind", &core.kind(), &object::ObjectKind::Core)?;
    let read = |address: u64| -> Option<u64> {
        let segment = core
            .segments()
            .find(|segment| (segment.address()..segment.address() + segment.size()).contains(&address))?;
        let at = usize::try_from(address - segment.address()).ok()?;
        let bytes = segment.data().ok()?.get(at..at + 8)?;
        Some(u64::from_le_bytes(bytes.try_into().ok()?))
    };
    // Where the frame has the return address.
    let returns = if ARCH == "riscv64" {
        crash.registers.fp - 8
    } else {
        crash.registers.fp + 8
    };
    let caller = crash.backtrace.get(1).ok_or("no caller")?;
    expect("caller", &read(returns), &Some(caller.address))?;
    expect("code", &read(crash.registers.pc & !7).is_some(), &true)?;
    for inaccessible in [0, layout::INBOX, outbox] {
        expect("not in the dump", &read(inaccessible), &None)?;
    }
    let pc = crash.registers.pc.to_le_bytes();
    let notes = file.get(..4096).ok_or("a short file")?;
    expect("pc", &notes.windows(8).any(|bytes| bytes == pc), &true)?;

    // The memory is no longer that of the crash.
    sandbox.restore(&snapshot)?;
    let error = sandbox.core_dump(&crash, CoreLimits::default(), &mut Vec::new());
    expect(
        "restored",
        &matches!(error, Err(CoreDumpError::NotPoisoned(_))),
        &true,
    )
}

fn panic_twice() -> TestResult {
    let crash = crash(sandbox()?.call::<_, ()>("panic_twice", ()))?;
    expect("kind", &crash.kind, &CrashKind::Panic)
}

/// Calls `function` with the address, and compares text and address of the exception.
fn check_access(
    function: &str,
    address: u64,
    texts: [&str; 3],
) -> Result<Registers, Box<dyn std::error::Error>> {
    let mut sandbox = sandbox()?;
    let exits = sandbox.exits();
    let crash = match function {
        "read" => crash(sandbox.call::<_, u8>(function, (address,)))?,
        _ => crash(sandbox.call::<_, ()>(function, (address,)))?,
    };
    expect("exits", &(sandbox.exits() - exits), &1)?;
    let is_exception = matches!(crash.kind, CrashKind::Exception { .. });
    expect("exception", &is_exception, &true)?;
    expect("text", &crash.message.as_str(), &by_arch(texts))?;
    expect("address", &crash.registers.fault_address, &address)?;
    expect("stack", &(crash.backtrace.len() > 2), &true)?;
    Ok(crash.registers)
}

/// The entry of the architecture: x86_64, arm64, riscv64.
fn by_arch(texts: [&str; 3]) -> &str {
    match ARCH {
        "x86_64" => texts[0],
        "aarch64" => texts[1],
        _ => texts[2],
    }
}

const READ: [&str; 3] = ["page fault at a read", "data abort at a read", "load page fault"];
const WRITE: [&str; 3] = [
    "page fault at a write",
    "data abort at a write",
    "store page fault",
];
const FETCH: [&str; 3] = [
    "page fault at an instruction fetch",
    "instruction abort",
    "instruction page fault",
];
const UNDEFINED: [&str; 3] = ["invalid opcode", "undefined instruction", "illegal instruction"];

fn null_read() -> TestResult {
    let registers = check_access("read", 8, READ)?;
    let in_code = (layout::IMAGE..layout::IMAGE_END).contains(&registers.pc);
    expect("code", &in_code, &true)
}

fn host_write() -> TestResult {
    check_access("write", layout::BOOT_INFO, WRITE)?;
    Ok(())
}

fn code_write() -> TestResult {
    let crash = crash(sandbox()?.call::<_, ()>("write_code", ()))?;
    expect("text", &crash.message.as_str(), &by_arch(WRITE))
}

fn heap_execution() -> TestResult {
    let crash = crash(sandbox()?.call::<_, ()>("execute_heap", ()))?;
    expect("text", &crash.message.as_str(), &by_arch(FETCH))?;
    expect("address", &crash.registers.pc, &crash.registers.fault_address)
}

fn undefined() -> TestResult {
    let crash = crash(sandbox()?.call::<_, ()>("illegal_instruction", ()))?;
    expect("text", &crash.message.as_str(), &by_arch(UNDEFINED))
}

fn stack_overflow() -> TestResult {
    let mut sandbox = builder().stack(0x1_0000).build()?;
    let crash = crash(sandbox.call::<_, u64>("overflow_stack", ()))?;
    expect("kind", &crash.kind, &CrashKind::StackOverflow)
}
