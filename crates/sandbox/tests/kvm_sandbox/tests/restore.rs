//! Returns to a snapshot: what the guest did is gone.

use std::time::Duration;

use hv_kvm_test::CheckResult;
use sandbox::{CallError, CallOptions, Cause, CopyOnWrite, CrashKind, Sandbox, Status};
use sandbox_abi::{BootInfo, layout};
use zerocopy::FromBytes;

use super::guest::{
    PAGE, Result, check, count, crash_of, expect, pattern, peek, poke, sandbox, start, works,
};
use super::test::Test;
use crate::guest::copy_on_write;

pub(crate) const TESTS: &[Test] = &[
    ("restore::statics_and_heap", statics_and_heap),
    ("restore::after_a_panic", after_panic),
    ("restore::after_a_deadline", after_deadline),
    ("restore::memory_is_equal_page_by_page", memory_is_equal),
    ("restore::windows_are_empty", windows),
    ("restore::rounding_mode", rounding_mode),
    ("restore::many_times", many_times),
    ("restore::another_image_is_refused", other_image),
    ("restore::page_tables", page_tables),
    ("restore::translations_are_flushed", translations),
    ("restore::text_is_shared_and_cannot_be_written", text),
];

fn statics_and_heap() -> CheckResult {
    let mut sandbox = sandbox()?;
    let mut addresses = Vec::new();
    for _ in 0..3 {
        expect("the first count", &count(&mut sandbox)?, &1)?;
        expect("the second count", &count(&mut sandbox)?, &2)?;
        let address: u64 = sandbox.call("remember", (pattern(20_000),))?;
        let found = peek(&mut sandbox, address, 20_000)?;
        check(found == pattern(20_000), || "the heap has other bytes".to_owned())?;
        addresses.push(address);
        sandbox.restore(&start()?)?;
        let found = peek(&mut sandbox, address + 10_000, 100)?;
        check(found != pattern(20_000)[10_000..10_100], || {
            "the heap has the bytes from before the restore".to_owned()
        })?;
        sandbox.restore(&start()?)?;
    }
    // The allocator starts again as well.
    expect("addresses", &addresses, &vec![addresses[0]; 3])
}

fn after_panic() -> CheckResult {
    let mut sandbox = sandbox()?;
    for _ in 0..50 {
        expect("the first count", &count(&mut sandbox)?, &1)?;
        crash_of::<_, ()>(&mut sandbox, "panic", ("again",))?;
        sandbox.restore(&start()?)?;
    }
    works(&mut sandbox)
}

fn after_deadline() -> CheckResult {
    let mut sandbox = sandbox()?;
    let spin = sandbox.function::<(), ()>("spin")?;
    for _ in 0..5 {
        expect("the first count", &count(&mut sandbox)?, &1)?;
        let options = CallOptions::default().with_deadline(Duration::from_millis(20));
        let error = sandbox.invoke(&spin, &(), options).err();
        check(matches!(error, Some(CallError::Deadline { .. })), || {
            format!("found {error:?}")
        })?;
        expect("status", &sandbox.status(), &Status::Poisoned(Cause::Deadline))?;
        sandbox.restore(&start()?)?;
    }
    works(&mut sandbox)
}

/// Where the memory of the guest starts that it can write: data, stacks and heap.
fn memory_start(sandbox: &mut Sandbox, info: &BootInfo) -> Result<u64> {
    let end = info.heap.get() + info.heap_len.get();
    end.checked_sub(sandbox.memory().limit)
        .ok_or("the memory is too long".into())
}

fn boot_info(sandbox: &mut Sandbox) -> Result<BootInfo> {
    let bytes = peek(sandbox, layout::BOOT_INFO, size_of::<BootInfo>())?;
    let info = BootInfo::read_from_bytes(&bytes).map_err(|error| error.to_string())?;
    expect("the magic number", &info.magic.get(), &BootInfo::MAGIC)?;
    Ok(info)
}

/// A hash of each page that the guest can write, with guards, as a guest finds it that maps them. The guest does the same each time, so the
/// traces of the calls are the same as well.
fn hashes(sandbox: &mut Sandbox) -> Result<Vec<u64>> {
    let info = boot_info(sandbox)?;
    let start = memory_start(sandbox, &info)?;
    if copy_on_write() == CopyOnWrite::Guest {
        // The guest's own page tables would show shared memory in place of its copies. Guards are not mapped, and the memory of the stack of
        // exception handlers is elsewhere.
        let data = start..info.fault_stack_top.get() - layout::FAULT_STACK - layout::GUARD;
        let stack = info.stack.get()..info.stack_top.get();
        let heap = info.heap.get()..info.heap.get() + info.heap_len.get();
        let mut hashes = Vec::new();
        for range in [data, stack, heap] {
            let pages = (range.end - range.start) / layout::PAGE;
            hashes.extend(sandbox.call::<_, Vec<u64>>("hash_pages", (range.start, pages))?);
        }
        return Ok(hashes);
    }
    let pages = sandbox.memory().limit / u64::try_from(PAGE)?;
    sandbox.call::<_, u64>("map_all", ())?;
    Ok(sandbox.call("hash_pages", (start, pages))?)
}

/// Numbers of the pages in which two guests differ.
fn different_pages(left: &[u64], right: &[u64]) -> Vec<usize> {
    let pages = left.iter().zip(right).enumerate();
    pages
        .filter(|(_, (left, right))| left != right)
        .map(|(at, _)| at)
        .collect()
}

fn memory_is_equal() -> CheckResult {
    let mut sandbox = sandbox()?;
    sandbox.call::<_, u64>("remember", (pattern(100_000),))?;
    count(&mut sandbox)?;
    let snapshot = sandbox.snapshot()?;
    let before = hashes(&mut sandbox)?;
    check(before.len() > 1024, || format!("only {} pages", before.len()))?;
    sandbox.restore(&snapshot)?;
    // Changes of the heap, of data and of the stack.
    let info = boot_info(&mut sandbox)?;
    count(&mut sandbox)?;
    sandbox.call::<_, u32>("keep", (600u32,))?;
    sandbox.call::<_, u64>("recurse", (100u64,))?;
    for address in (info.heap.get()..info.heap.get() + info.heap_len.get())
        .step_by(7 * PAGE)
        .skip(400)
    {
        poke(&mut sandbox, address + 17, &[0xa5; 3])?;
    }
    let changed = hashes(&mut sandbox)?;
    check(different_pages(&before, &changed).len() > 600, || {
        format!("only {} pages changed", different_pages(&before, &changed).len())
    })?;
    sandbox.restore(&snapshot)?;
    let second = sandbox.snapshot()?;
    let after = hashes(&mut sandbox)?;
    expect(
        "pages that differ after a restore",
        &different_pages(&before, &after),
        &Vec::new(),
    )?;
    let mut clone = super::guest::with_increment(sandbox::SandboxBuilder::from_snapshot(&second)).build()?;
    let of_clone = hashes(&mut clone)?;
    expect(
        "pages that differ in a clone",
        &different_pages(&before, &of_clone),
        &Vec::new(),
    )
}

fn windows() -> CheckResult {
    let mut sandbox = sandbox()?;
    let windows = [layout::INBOX, boot_info(&mut sandbox)?.outbox.get()];
    let mut result = Vec::new();
    sandbox.call_bytes("echo", &vec![0xaa; 60_000], &mut result)?;
    for window in windows {
        let found = peek(&mut sandbox, window + 0x1000, 100)?;
        expect("the window before", &found, &vec![0xaa; 100])?;
    }
    sandbox.restore(&start()?)?;
    for window in windows {
        // The call itself uses the first bytes.
        let found = peek(&mut sandbox, window + 0x1000, 0xf000 - 0x100)?;
        check(found.iter().all(|byte| *byte == 0), || {
            format!("the window at {window:#x} has bytes")
        })?;
    }
    Ok(())
}

fn rounding_mode() -> CheckResult {
    let mut sandbox = sandbox()?;
    let nearest: u64 = sandbox.call("third", ())?;
    expect("a third", &nearest, &(1.0_f64 / 3.0).to_bits())?;
    for _ in 0..3 {
        sandbox.call::<_, ()>("round_up", ())?;
        let up: u64 = sandbox.call("third", ())?;
        if hv_kvm_test::has_virtualisation() || cfg!(not(target_arch = "x86_64")) {
            expect("a third, rounded up", &up, &(nearest + 1))?;
        }
        sandbox.restore(&start()?)?;
        let found: u64 = sandbox.call("third", ())?;
        expect("a third after a restore", &found, &nearest)?;
    }
    Ok(())
}

fn many_times() -> CheckResult {
    let mut sandbox = sandbox()?;
    let snapshot = start()?;
    for round in 0..1000u32 {
        expect("a count", &count(&mut sandbox)?, &1)?;
        if round % 10 == 0 {
            sandbox.call::<_, u32>("dirty", (round % 300,))?;
        }
        sandbox.restore(&snapshot)?;
        if round % 3 == 0 {
            sandbox.restore(&snapshot)?;
        }
    }
    works(&mut sandbox)
}

fn other_image() -> CheckResult {
    let mut other = super::guest::with_increment(super::guest::load()?).build()?;
    let snapshot = other.snapshot()?;
    let mut sandbox = sandbox()?;
    count(&mut sandbox)?;
    let error = sandbox.restore(&snapshot).err();
    check(matches!(error, Some(sandbox::RestoreError::OtherImage)), || {
        format!("found {error:?}")
    })?;
    expect("a count", &count(&mut sandbox)?, &2)
}

fn page_tables() -> CheckResult {
    let mut sandbox = sandbox()?;
    let first: u64 = sandbox.call("map_all", ())?;
    let original = peek(&mut sandbox, first, 2 * PAGE)?;
    check(original.iter().any(|byte| *byte != 0), || {
        "the tables are empty".to_owned()
    })?;
    poke(&mut sandbox, first, &vec![0; 2 * PAGE])?;
    poke(&mut sandbox, first + 8, &[0xff; 16])?;
    let changed = peek(&mut sandbox, first, 2 * PAGE)?;
    check(changed != original, || "the tables did not change".to_owned())?;
    sandbox.restore(&start()?)?;
    works(&mut sandbox)?;
    // The guest is back on the tables of the host, which are those of the start.
    let crash = crash_of::<_, Vec<u8>>(&mut sandbox, "peek", (first, 1u64))?;
    check(matches!(crash.kind, CrashKind::Exception { .. }), || {
        format!("found {crash:?}")
    })?;
    sandbox.restore(&start()?)?;
    let again: u64 = sandbox.call("map_all", ())?;
    expect("address of the tables", &again, &first)?;
    let found = peek(&mut sandbox, first, 2 * PAGE)?;
    check(found == original, || {
        "the tables are others after a restore".to_owned()
    })
}

fn translations() -> CheckResult {
    let mut sandbox = sandbox()?;
    let guard = boot_info(&mut sandbox)?.stack.get() - 0x100;
    for write_memory in [false, true] {
        sandbox.call::<_, u64>("map_all", ())?;
        // The guard is cached as memory that can be written.
        poke(&mut sandbox, guard, &[1])?;
        expect("the guard", &peek(&mut sandbox, guard, 1)?, &vec![1])?;
        if !write_memory {
            // As little as possible is written since this one.
            sandbox.snapshot()?;
            peek(&mut sandbox, guard, 1)?;
        }
        sandbox.restore(&start()?)?;
        let crash = crash_of::<_, Vec<u8>>(&mut sandbox, "peek", (guard, 1u64))?;
        expect("kind", &crash.kind, &CrashKind::StackOverflow)?;
        sandbox.restore(&start()?)?;
        works(&mut sandbox)?;
    }
    Ok(())
}

fn text() -> CheckResult {
    let mut other = sandbox()?;
    let mut sandbox = sandbox()?;
    let code: u64 = sandbox.call("code", ())?;
    let read = |sandbox: &mut Sandbox| -> Result<Vec<u8>> {
        sandbox.call::<_, u64>("map_all", ())?;
        let text = peek(sandbox, code, 64)?;
        sandbox.restore(&start()?)?;
        Ok(text)
    };
    let original = read(&mut other)?;
    check(original.iter().any(|byte| *byte != 0), || "no code".to_owned())?;
    // With tables of its own, only the slot of the hypervisor stops a write.
    for address in [code, layout::IMAGE, layout::BOOT_INFO] {
        sandbox.call::<_, u64>("map_all", ())?;
        let crash = crash_of::<_, ()>(&mut sandbox, "poke", (address, vec![0u8; 8]))?;
        check(crash.is_exit(), || format!("found {crash:?}"))?;
        sandbox.restore(&start()?)?;
        works(&mut sandbox)?;
    }
    for sandbox in [&mut other, &mut sandbox] {
        check(read(sandbox)? == original, || "the code changed".to_owned())?;
        works(sandbox)?;
    }
    Ok(())
}
