//! Snapshots, restores and clones.

use hv_core::fake::FakeCpu;
use sandbox::{
    CallError, CallOptions, Cause, Fake, FakeProgram, RestoreError, Sandbox, SandboxBuilder, SnapshotError,
    Status,
};
use sandbox_abi::{GuestStatus, layout};

use crate::guest::{Action, Functions, are_copied, boot_info, returns, with_copies};
use crate::mmu;

const PAGE: u64 = 0x1000;

/// The scratch area before the copies: its state, and the stack of exception handlers.
const SCRATCH_HEAD: u64 = 5 * PAGE;

/// A guest with a heap of bytes that can be read and written, one per page.
pub(crate) fn functions() -> Functions {
    let heap = |cpu: &FakeCpu<'_>, page: u64| boot_info(cpu).heap.get() + page * PAGE;
    Functions::new()
        .data(b"initial")
        .typed::<(u64, u8), ()>("set", move |cpu, (page, value): (u64, u8)| {
            mmu::write(cpu, heap(cpu, page), &[value]).unwrap();
            returns(())
        })
        .typed::<(u64,), u8>("get", move |cpu, (page,): (u64,)| {
            let mut byte = [0];
            mmu::read(cpu, heap(cpu, page), &mut byte).unwrap();
            returns(byte[0])
        })
        .typed::<(u64, Vec<u8>), ()>("poke", |cpu, (addr, bytes): (u64, Vec<u8>)| {
            mmu::write(cpu, addr, &bytes).unwrap();
            returns(())
        })
        .typed::<(u64, u32), Vec<u8>>("peek", |cpu, (addr, len): (u64, u32)| {
            let mut bytes = vec![0; len as usize];
            mmu::read(cpu, addr, &mut bytes).unwrap();
            returns(bytes)
        })
        .typed::<(), u64>("count", move |cpu, ()| {
            let at = heap(cpu, 900);
            let mut count = [0];
            mmu::read(cpu, at, &mut count).unwrap();
            count[0] += 1;
            mmu::write(cpu, at, &count).unwrap();
            returns(u64::from(count[0]))
        })
        .typed::<(), u64>("outbox", |cpu, ()| returns(boot_info(cpu).outbox.get()))
        .bytes("halt", |_, _| Action::Exit(hv_core::fake::FakeExit::Halt))
        .bytes("echo", |_, bytes| Action::Return(GuestStatus::OK, bytes))
}

pub(crate) fn build(functions: &Functions) -> Sandbox<Fake> {
    SandboxBuilder::on(functions.fake(), functions.program())
        .build()
        .unwrap()
}

fn set(sandbox: &mut Sandbox<Fake>, page: u64, value: u8) {
    sandbox.call::<_, ()>("set", (page, value)).unwrap();
}

fn get(sandbox: &mut Sandbox<Fake>, pages: &[u64]) -> Vec<u8> {
    let mut get = |page: &u64| sandbox.call::<_, u8>("get", (*page,)).unwrap();
    pages.iter().map(&mut get).collect()
}

fn peek(sandbox: &mut Sandbox<Fake>, addr: u64, len: u32) -> Vec<u8> {
    sandbox.call("peek", (addr, len)).unwrap()
}

#[test]
fn a_restore_brings_memory_and_registers_back() {
    let mut sandbox = build(&functions());
    let start = sandbox.snapshot().unwrap();
    for (page, value) in [(0, 1), (1, 1), (500, 1)] {
        set(&mut sandbox, page, value);
    }
    assert_eq!(sandbox.call::<_, u64>("count", ()).unwrap(), 1);
    sandbox
        .call::<_, ()>("poke", (FakeProgram::DATA, b"changed".to_vec()))
        .unwrap();
    let later = sandbox.snapshot().unwrap();
    set(&mut sandbox, 1, 2);
    set(&mut sandbox, 7, 2);
    assert_eq!(sandbox.call::<_, u64>("count", ()).unwrap(), 2);
    let pages = [0, 1, 7, 500];
    for _ in 0..2 {
        sandbox.restore(&later).unwrap();
        assert_eq!(get(&mut sandbox, &pages), [1, 1, 0, 1]);
        assert_eq!(peek(&mut sandbox, FakeProgram::DATA, 7), b"changed");
        assert_eq!(sandbox.call::<_, u64>("count", ()).unwrap(), 2);
        sandbox.restore(&start).unwrap();
        assert_eq!(get(&mut sandbox, &pages), [0; 4]);
        assert_eq!(peek(&mut sandbox, FakeProgram::DATA, 7), b"initial");
        assert_eq!(sandbox.call::<_, u64>("count", ()).unwrap(), 1);
        set(&mut sandbox, 7, 9);
    }
}

#[test]
fn clones_start_from_the_snapshot_and_are_independent() {
    let mut sandbox = build(&functions());
    let start = sandbox.snapshot().unwrap();
    set(&mut sandbox, 3, 3);
    assert_eq!(sandbox.call::<_, u64>("count", ()).unwrap(), 1);
    let snapshot = sandbox.snapshot().unwrap();
    let mut clones: Vec<_> = (0..3).map(|_| Sandbox::clone_from(&snapshot).unwrap()).collect();
    for (value, clone) in (10..).zip(&mut clones) {
        // All pages are shared, also those of layers, and a restore writes those of the call only.
        assert_eq!((clone.status(), clone.memory().resident), (Status::Ready, 0));
        set(clone, 5, 1);
        clone.restore(&snapshot).unwrap();
        // A copy is zeros now, but still there.
        let resident = if are_copied() { SCRATCH_HEAD + PAGE } else { PAGE };
        assert_eq!(clone.memory().resident, resident);
        assert_eq!(clone.call::<_, u64>("count", ()).unwrap(), 2);
        set(clone, 4, value);
    }
    for (value, clone) in (10..).zip(&mut clones) {
        assert_eq!(get(clone, &[3, 4]), [3, value]);
        assert_eq!(peek(clone, FakeProgram::DATA, 7), b"initial");
    }
    assert_eq!(get(&mut sandbox, &[3, 4]), [3, 0]);
    clones[2].restore(&start).unwrap();
    assert_eq!(get(&mut clones[2], &[3, 4]), [0, 0]);
    // A snapshot of a clone is one for all.
    let of_clone = clones[1].snapshot().unwrap();
    drop(clones);
    sandbox.restore(&of_clone).unwrap();
    assert_eq!(get(&mut sandbox, &[3, 4]), [3, 11]);
    // A handle of one is valid for the others.
    let get = sandbox.function::<(u64,), u8>("get").unwrap();
    let mut clone = Sandbox::clone_from(&of_clone).unwrap();
    assert_eq!(clone.invoke(&get, &(4,), CallOptions::default()).unwrap(), 11);
}

#[test]
fn a_restore_makes_a_poisoned_sandbox_ready() {
    let mut sandbox = build(&functions());
    let snapshot = sandbox.snapshot().unwrap();
    let error = sandbox.call_bytes("halt", &[], &mut Vec::new()).unwrap_err();
    assert!(
        matches!(&error, CallError::Crashed(crash) if crash.is_exit()),
        "{error}"
    );
    let poisoned = Status::Poisoned(Cause::Exit);
    assert_eq!(sandbox.status(), poisoned);
    let error = sandbox.call::<_, u64>("count", ()).unwrap_err();
    assert!(
        matches!(error, CallError::NotReady(status) if status == poisoned),
        "{error}"
    );
    let error = sandbox.snapshot().unwrap_err();
    assert!(
        matches!(error, SnapshotError::NotReady(status) if status == poisoned),
        "{error}"
    );
    sandbox.restore(&snapshot).unwrap();
    assert_eq!(sandbox.call::<_, u64>("count", ()).unwrap(), 1);
}

#[test]
fn a_restore_takes_nothing_over_in_the_window_and_the_page_tables() {
    let mut sandbox = build(&functions());
    let snapshot = sandbox.snapshot().unwrap();
    // A secret of this guest in both windows, also where no message is, and changed page tables.
    let window = 0x1_0000;
    let secret = vec![0xaa; 60_000];
    sandbox.call_bytes("echo", &secret, &mut Vec::new()).unwrap();
    let outbox = sandbox.call::<_, u64>("outbox", ()).unwrap();
    let tables = outbox + window;
    let len = u32::try_from(FakeProgram::TABLES_LEN).unwrap();
    let before = peek(&mut sandbox, tables, len);
    assert!(before.iter().any(|&byte| byte != 0));
    for addr in [outbox + window - 8, tables, tables + FakeProgram::TABLES_LEN - 8] {
        sandbox.call::<_, ()>("poke", (addr, vec![0xbbu8; 8])).unwrap();
    }
    sandbox.restore(&snapshot).unwrap();
    // The call itself uses the first bytes.
    let rest = peek(&mut sandbox, outbox + 128, 0x1_0000 - 128);
    assert!(rest.iter().all(|&byte| byte == 0));
    let rest = peek(&mut sandbox, layout::INBOX + 128, 0x1_0000 - 128);
    assert!(rest.iter().all(|&byte| byte == 0));
    assert_eq!(peek(&mut sandbox, tables, len), before);
}

#[test]
fn snapshots_of_other_images_are_refused() {
    let mut sandbox = build(&functions());
    let mut other = build(&functions());
    let snapshot = other.snapshot().unwrap();
    let error = sandbox.restore(&snapshot).unwrap_err();
    assert!(matches!(error, RestoreError::OtherImage), "{error}");
    assert_eq!(sandbox.call::<_, u64>("count", ()).unwrap(), 1);
}

#[test]
fn a_restore_above_the_budget_drops_pages() {
    let functions = functions();
    let mut sandbox = SandboxBuilder::on(functions.fake(), functions.program())
        .resident_budget(8 * PAGE)
        .build()
        .unwrap();
    let start = sandbox.snapshot().unwrap();
    for page in [1, 2, 20, 21, 22, 23, 40] {
        set(&mut sandbox, page, 1);
    }
    let layer = sandbox.snapshot().unwrap();
    for page in [2, 3, 30, 31] {
        set(&mut sandbox, page, 2);
    }
    assert_eq!(sandbox.memory().limit % PAGE, 0);
    sandbox.restore(&layer).unwrap();
    // Copies of pages are dropped, as the scratch area does not fit into what is left of the budget.
    assert_eq!(sandbox.memory().resident, 7 * PAGE);
    assert_eq!(
        get(&mut sandbox, &[1, 2, 3, 23, 30, 31, 40]),
        [1, 1, 0, 1, 0, 0, 1]
    );
    for page in [50, 51] {
        set(&mut sandbox, page, 3);
    }
    sandbox.restore(&start).unwrap();
    // The mapping below the copies still has the pages of the layer, which are within the budget.
    let resident = if are_copied() { 7 * PAGE } else { 0 };
    assert_eq!(sandbox.memory().resident, resident);
    assert_eq!(get(&mut sandbox, &[1, 2, 23, 40, 50, 51]), [0; 6]);
    sandbox.restore(&layer).unwrap();
    assert_eq!(get(&mut sandbox, &[1, 2, 23, 40, 50, 51]), [1, 1, 1, 1, 0, 0]);
}

#[test]
fn a_large_snapshot_becomes_a_base_of_its_own() {
    let mut sandbox = build(&functions());
    let start = sandbox.snapshot().unwrap();
    for page in 0..600 {
        set(&mut sandbox, page, 5);
    }
    let large = sandbox.snapshot().unwrap();
    let mut clone = Sandbox::clone_from(&large).unwrap();
    assert_eq!(clone.memory().resident, 0);
    assert_eq!(get(&mut clone, &[0, 599, 600]), [5, 5, 0]);
    set(&mut clone, 0, 6);
    sandbox.restore(&start).unwrap();
    assert_eq!(get(&mut sandbox, &[0, 599, 600]), [0; 3]);
    sandbox.restore(&large).unwrap();
    assert_eq!(get(&mut sandbox, &[0, 599, 600]), [5, 5, 0]);
    clone.restore(&start).unwrap();
    assert_eq!(get(&mut clone, &[0, 599, 600]), [0; 3]);
    assert_eq!(peek(&mut clone, FakeProgram::DATA, 7), b"initial");
}

#[test]
fn guests_that_copy_pages_have_the_same_snapshots() {
    with_copies(&[
        a_restore_brings_memory_and_registers_back,
        clones_start_from_the_snapshot_and_are_independent,
        a_restore_makes_a_poisoned_sandbox_ready,
        snapshots_of_other_images_are_refused,
        a_restore_above_the_budget_drops_pages,
        a_large_snapshot_becomes_a_base_of_its_own,
    ]);
}
