//! Guests that copy the pages that they write, where the hypervisor has no dirty log.

use boot_paging::{Scheme, translate};
use hv_core::fake::FakeCpu;
use sandbox::{
    BuildError, CallError, CopyOnWrite, Fake, FakeProgram, LoadOptions, PageTableError, Sandbox,
    SandboxBuilder, Snapshot, SnapshotError,
};
use sandbox_abi::layout;

use crate::guest::{Action, Functions, boot_info, returns};
use crate::snapshots::functions;

const PAGE: u64 = 0x1000;

/// The functions of `snapshots`, and some of physical memory.
fn guest() -> Functions {
    functions()
        .typed::<(u64, u64), ()>("set_word", |cpu, (addr, value): (u64, u64)| {
            match cpu.write(addr, &value.to_le_bytes()) {
                Ok(()) => returns(()),
                Err(fault) => Action::Exit(fault.into()),
            }
        })
        .typed::<(u64,), u64>("word", |cpu, (addr,): (u64,)| returns(word(cpu, addr)))
        .typed::<(u64,), u64>("physical", |cpu, (virt,): (u64,)| {
            let info = boot_info(cpu);
            let root = info.outbox.get() + u64::from(info.window_len.get());
            let page = translate(Scheme::X86_64, root, virt, |addr| Some(word(cpu, addr))).unwrap();
            returns(page.translate(virt).unwrap())
        })
        .typed::<(), (u64, u64, u64, u64)>("areas", |cpu, ()| {
            let info = boot_info(cpu);
            let tables = info.outbox.get() + u64::from(info.window_len.get());
            returns((
                tables,
                info.scratch.get(),
                info.copies.get(),
                info.copy_count.get(),
            ))
        })
}

fn word(cpu: &FakeCpu<'_>, addr: u64) -> u64 {
    let mut bytes = [0; 8];
    cpu.read(addr, &mut bytes).unwrap();
    u64::from_le_bytes(bytes)
}

fn build(functions: &Functions) -> Sandbox<Fake> {
    let fake = functions.fake().with_dirty_log(false);
    SandboxBuilder::on(fake, functions.program()).build().unwrap()
}

/// The entry of level 0 for a virtual address: where it is.
fn entry(sandbox: &mut Sandbox<Fake>, virt: u64) -> u64 {
    let (mut table, ..) = areas(sandbox);
    let mut at = 0;
    for shift in [39, 30, 21, 12] {
        at = table + (virt >> shift & 0x1ff) * 8;
        table = sandbox.call::<_, u64>("word", (at,)).unwrap() & 0x000f_ffff_ffff_f000;
    }
    at
}

fn areas(sandbox: &mut Sandbox<Fake>) -> (u64, u64, u64, u64) {
    sandbox.call("areas", ()).unwrap()
}

#[test]
fn the_host_chooses_by_abilities() {
    let functions = guest();
    for (dirty_log, choice, copies) in [
        (true, CopyOnWrite::Auto, Some(false)),
        (false, CopyOnWrite::Auto, Some(true)),
        (true, CopyOnWrite::Host, Some(false)),
        (false, CopyOnWrite::Host, None),
        (true, CopyOnWrite::Guest, Some(true)),
        (false, CopyOnWrite::Guest, Some(true)),
    ] {
        let fake = functions.fake().with_dirty_log(dirty_log);
        let built = SandboxBuilder::on(fake, functions.program())
            .copy_on_write(choice)
            .build();
        match (built, copies) {
            (Ok(mut sandbox), Some(copies)) => assert_eq!(areas(&mut sandbox).1 != 0, copies),
            (Err(BuildError::Unsupported { what }), None) => assert_eq!(what, "dirty logs"),
            (built, _) => panic!("{dirty_log} {choice:?}: {built:?}"),
        }
    }
}

#[test]
fn a_restore_leaves_nothing_in_the_scratch_area() {
    let functions = guest();
    let mut sandbox = build(&functions);
    let snapshot = sandbox.snapshot().unwrap();
    let (tables, ..) = areas(&mut sandbox);
    let table = tables + 0x4000;
    let original: u64 = sandbox.call("word", (table,)).unwrap();
    for pages in [1u64, 10, 100] {
        for page in 0..pages {
            sandbox.call::<_, ()>("set", (page, 0xa5u8)).unwrap();
        }
        let (_, scratch, copies, count) = areas(&mut sandbox);
        // Also where no page is in use, in the stack of exception handlers, and with a wrong number of used pages.
        for addr in [
            copies + (count - 1) * PAGE,
            copies + (count + 15) * PAGE,
            scratch + PAGE,
            table,
        ] {
            sandbox.call::<_, ()>("set_word", (addr, u64::MAX)).unwrap();
        }
        if pages == 10 {
            sandbox.call::<_, ()>("set_word", (scratch, 0u64)).unwrap();
        }
        if pages == 100 {
            sandbox.call::<_, ()>("set_word", (scratch, u64::MAX)).unwrap();
        }
        sandbox.restore(&snapshot).unwrap();
        let end = copies + (count + 16) * PAGE;
        for addr in (scratch..end).step_by(64) {
            assert_eq!(sandbox.call::<_, u64>("word", (addr,)).unwrap(), 0, "{addr:#x}");
        }
        assert_eq!(sandbox.call::<_, u64>("word", (table,)).unwrap(), original);
    }
}

#[test]
fn copies_of_the_guest_take_memory() {
    let functions = guest();
    let mut sandbox = build(&functions);
    let start = sandbox.snapshot().unwrap();
    let before = sandbox.memory().resident;
    for pages in [100u64, 3] {
        for page in 0..pages {
            sandbox.call::<_, ()>("set", (page, 0xa5u8)).unwrap();
        }
        let taken = sandbox.snapshot().unwrap();
        let resident = sandbox.memory().resident;
        assert!(resident >= before + pages * PAGE, "{pages}: {resident:#x}");
        // No more than a copy for each page that was written, and what came before.
        assert!(
            resident < before + 70 * PAGE + pages * PAGE,
            "{pages}: {resident:#x}"
        );
        drop(taken);
        sandbox.restore(&start).unwrap();
        // Most of a hundred pages are dropped.
        let kept = sandbox.memory().resident;
        assert!(kept <= before + 70 * PAGE, "{pages}: {kept:#x}");
    }
}

#[test]
fn shared_memory_is_not_writable() {
    let mut sandbox = build(&guest());
    let start = sandbox.snapshot().unwrap();
    let error = sandbox.call::<_, ()>("set_word", (FakeProgram::DATA, 1u64));
    match error.unwrap_err() {
        CallError::Crashed(crash) => assert!(crash.is_exit(), "{crash}"),
        error => panic!("{error}"),
    }
    sandbox.restore(&start).unwrap();
    let data: Vec<u8> = sandbox.call("peek", (FakeProgram::DATA, 7u32)).unwrap();
    assert_eq!(data, b"initial");
}

#[test]
fn page_tables_that_the_guest_changed_have_no_snapshot() {
    let mut sandbox = build(&guest());
    let start = sandbox.snapshot().unwrap();
    let heap = FakeProgram::DATA + 0x20_0000;
    for case in 0..4 {
        for page in 0..3 {
            let addr = heap + page * PAGE;
            sandbox.call::<_, ()>("poke", (addr, vec![1u8])).unwrap();
        }
        let (tables, ..) = areas(&mut sandbox);
        let [first, second] = [0, 1].map(|page| entry(&mut sandbox, heap + page * PAGE));
        let found: u64 = sandbox.call("word", (first,)).unwrap();
        let flags = found & 0xfff;
        let (at, value) = match case {
            0 => (second, found),
            1 => (second, layout::BOOT_INFO | flags),
            // More circles than the tables are.
            2 => {
                for at in 100..140 {
                    let entry = (tables + 8 * at, tables | 0x27);
                    sandbox.call::<_, ()>("set_word", entry).unwrap();
                }
                (tables + 8 * 140, tables | 0x27)
            }
            _ => (tables, 0x10_0000_0027),
        };
        sandbox.call::<_, ()>("set_word", (at, value)).unwrap();
        let error = sandbox.snapshot().map(drop);
        match (case, error) {
            (0, Err(SnapshotError::PageTables(PageTableError::Twice { first, second, .. }))) => {
                assert_eq!((first, second), (heap, heap + PAGE));
            }
            (1, Err(SnapshotError::PageTables(PageTableError::Elsewhere { virt, phys }))) => {
                assert_eq!((virt, phys), (heap + PAGE, layout::BOOT_INFO));
            }
            (2 | 3, Err(SnapshotError::PageTables(PageTableError::Walk(_)))) => {}
            (case, error) => panic!("{case}: {error:?}"),
        }
        sandbox.restore(&start).unwrap();
        let found: Vec<u8> = sandbox.call("peek", (heap, 1u32)).unwrap();
        assert_eq!(found, [0]);
    }
}

#[test]
fn snapshots_of_files_load_with_each() {
    let functions = guest();
    for (from, to) in [
        (CopyOnWrite::Guest, CopyOnWrite::Host),
        (CopyOnWrite::Host, CopyOnWrite::Guest),
        (CopyOnWrite::Guest, CopyOnWrite::Guest),
    ] {
        let mut sandbox = SandboxBuilder::on(functions.fake(), functions.program())
            .copy_on_write(from)
            .build()
            .unwrap();
        sandbox.call::<_, ()>("set", (7u64, 9u8)).unwrap();
        let mut file = Vec::new();
        sandbox.snapshot().unwrap().write_to(&mut file).unwrap();
        let options = LoadOptions::default().with_copy_on_write(to);
        let loaded = Snapshot::read_from(functions.fake(), &file.as_slice(), options).unwrap();
        let mut other = Sandbox::clone_from(&loaded).unwrap();
        for _ in 0..2 {
            assert_eq!(other.call::<_, u8>("get", (7u64,)).unwrap(), 9);
            other.call::<_, ()>("set", (7u64, 1u8)).unwrap();
            other.restore(&loaded).unwrap();
        }
    }
}

#[test]
fn later_snapshots_have_all_pages_since_the_restore() {
    let mut sandbox = build(&guest());
    let start = sandbox.snapshot().unwrap();
    sandbox.restore(&start).unwrap();
    sandbox.call::<_, ()>("set", (1u64, 1u8)).unwrap();
    let first = sandbox.snapshot().unwrap();
    sandbox.call::<_, ()>("set", (2u64, 2u8)).unwrap();
    let second = sandbox.snapshot().unwrap();
    assert_eq!((first.copied(), second.copied()), (PAGE, 2 * PAGE));
    for (snapshot, expected) in [
        (&first, [1, 0]),
        (&second, [1, 2]),
        (&start, [0, 0]),
        (&second, [1, 2]),
    ] {
        sandbox.restore(snapshot).unwrap();
        let found = [1u64, 2].map(|page| sandbox.call::<_, u8>("get", (page,)).unwrap());
        assert_eq!(found, expected);
    }
}
