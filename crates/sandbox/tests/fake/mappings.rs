//! Mapped files and regions.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicU32, Ordering};
use std::{env, process};

use boot_paging::{Access, Page, PageSize, Scheme, translate};
use hv_core::Fault;
use hv_core::fake::{FakeCpu, FakeExit, FakeFault};
use proptest::prelude::*;
use sandbox::{
    CallError, Cause, CrashKind, Fake, FileOptions, MapError, Mapping, Pool, RegionAccess, Sandbox,
    SandboxBuilder, SharedRegion, SnapshotError, Status, UnmapError,
};
use sandbox_abi::{CrashReason, CrashRecord, layout};
use zerocopy::{FromZeros, IntoBytes};

use crate::guest::{Action, Functions, boot_info, returns};

const PAGE: u64 = 0x1000;

/// The page of a virtual address by the page tables of the guest, which the fake CPU does not use.
fn page_of(cpu: &FakeCpu<'_>, virt: u64) -> Option<Page> {
    let info = boot_info(cpu);
    let root = info.outbox.get() + u64::from(info.window_len.get());
    let read = |addr: u64| {
        let mut entry = [0; 8];
        cpu.read(addr, &mut entry).ok()?;
        Some(u64::from_le_bytes(entry))
    };
    translate(Scheme::X86_64, root, virt, read).ok()
}

/// Access to memory by the page tables: as a CPU makes it, an access that they do not permit is an exception.
fn access(
    cpu: &FakeCpu<'_>,
    addr: u64,
    write: bool,
    f: impl FnOnce(u64) -> Result<(), FakeFault>,
) -> Result<(), Action> {
    let page = page_of(cpu, addr).filter(|page| !write || page.attributes.access.contains(Access::WRITE));
    let crash = |text: &str| {
        let mut record = CrashRecord::new_zeroed();
        record.reason = CrashReason::EXCEPTION;
        record.message_len.set(u32::try_from(text.len()).unwrap());
        let mut bytes = record.as_bytes().to_vec();
        bytes.extend(text.as_bytes());
        Action::Crash(bytes)
    };
    let page = page.ok_or_else(|| crash("page fault"))?;
    assert!(!page.attributes.access.contains(Access::EXECUTE));
    let phys = page.translate(addr).unwrap();
    f(phys).map_err(|fault| Action::Exit(fault.into()))
}

fn functions() -> Functions {
    Functions::new()
        .typed::<(u64, u32), Vec<u8>>("load", |cpu, (addr, len): (u64, u32)| {
            let mut bytes = vec![0; len as usize];
            match access(cpu, addr, false, |phys| cpu.read(phys, &mut bytes)) {
                Ok(()) => returns(bytes),
                Err(action) => action,
            }
        })
        .typed::<(u64, Vec<u8>), ()>("store", |cpu, (addr, bytes): (u64, Vec<u8>)| {
            match access(cpu, addr, true, |phys| cpu.write(phys, &bytes)) {
                Ok(()) => returns(()),
                Err(action) => action,
            }
        })
        // As a guest with other page tables.
        .typed::<(u64, Vec<u8>), ()>("poke", |cpu, (addr, bytes): (u64, Vec<u8>)| {
            match cpu.write(addr, &bytes) {
                Ok(()) => returns(()),
                Err(fault) => Action::Exit(fault.into()),
            }
        })
        .typed::<(u64, u32), Vec<u8>>("peek", |cpu, (addr, len): (u64, u32)| {
            let mut bytes = vec![0; len as usize];
            match cpu.read(addr, &mut bytes) {
                Ok(()) => returns(bytes),
                Err(fault) => Action::Exit(fault.into()),
            }
        })
        // The first byte, and whether the page is writable; nothing if there is no page.
        .typed::<(u64,), Option<(u8, bool)>>("probe", |cpu, (addr,): (u64,)| {
            let found = page_of(cpu, addr).map(|page| {
                let mut byte = [0];
                cpu.read(page.translate(addr).unwrap(), &mut byte).unwrap();
                (byte[0], page.attributes.access.contains(Access::WRITE))
            });
            returns(found)
        })
        .typed::<(u64,), u64>("page_size", |cpu, (addr,): (u64,)| {
            returns(page_of(cpu, addr).map_or(0, |page| page.size.bytes()))
        })
        .typed::<(), u64>("tables", |cpu, ()| {
            let info = boot_info(cpu);
            returns(info.outbox.get() + u64::from(info.window_len.get()))
        })
        .typed::<((u64, u64),), (u64, u64)>("region", |_, (region,): ((u64, u64),)| returns(region))
        // What KVM reports of a page without memory: with and without its address.
        .typed::<(u64,), ()>("fault", |_, (address,): (u64,)| {
            let fault = match address {
                0 => Fault::InternalError {
                    suberror: 14,
                    meaning: None,
                    pc: None,
                    instruction: Vec::new(),
                    data: Vec::new(),
                },
                address => Fault::MemoryFault {
                    address,
                    len: PAGE,
                    flags: 0,
                },
            };
            Action::Exit(FakeExit::Fault(fault))
        })
}

fn build() -> Sandbox<Fake> {
    let functions = functions();
    SandboxBuilder::on(functions.fake(), functions.program())
        .build()
        .unwrap()
}

fn load(sandbox: &mut Sandbox<Fake>, addr: u64, len: u32) -> Result<Vec<u8>, CallError> {
    sandbox.call("load", (addr, len))
}

fn store(sandbox: &mut Sandbox<Fake>, addr: u64, bytes: &[u8]) -> Result<(), CallError> {
    sandbox.call("store", (addr, bytes.to_vec()))
}

/// A file of pages, of which page `n` is full of `n + 1`, and `tail` bytes more.
fn file(pages: u8, tail: usize) -> File {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let path = env::temp_dir().join(format!("sandbox-mapped-{}-{number}", process::id()));
    let mut file = File::options()
        .read(true)
        .write(true)
        .create_new(true)
        .open(&path)
        .unwrap();
    fs::remove_file(path).unwrap();
    for page in 0..pages {
        file.write_all(&[page + 1; 0x1000]).unwrap();
    }
    file.write_all(&vec![0xee; tail]).unwrap();
    file
}

fn is_page_fault(error: &CallError) -> bool {
    matches!(error, CallError::Crashed(crash) if matches!(crash.kind, CrashKind::Exception { .. }))
}

fn is_access(error: &CallError) -> bool {
    matches!(error, CallError::Crashed(crash) if crash.is_exit())
}

fn probe(sandbox: &mut Sandbox<Fake>, addr: u64) -> Option<(u8, bool)> {
    sandbox.call("probe", (addr,)).unwrap()
}

#[test]
fn a_file_is_read_and_not_written() {
    let mut sandbox = build();
    let snapshot = sandbox.snapshot().unwrap();
    let file = file(2, 5);
    let mapping = sandbox.map_file(&file, FileOptions::read_only()).unwrap();
    assert_eq!(
        (mapping.address(), mapping.len()),
        (layout::REGIONS, 2 * PAGE + 5)
    );
    // The guest gets the mapping as a parameter.
    let region = sandbox.call::<_, (u64, u64)>("region", (mapping,)).unwrap();
    assert_eq!(region, (mapping.address(), mapping.len()));
    let at = |offset| mapping.address() + offset;
    assert_eq!(load(&mut sandbox, at(PAGE - 2), 2).unwrap(), [1, 1]);
    assert_eq!(
        load(&mut sandbox, at(2 * PAGE + 3), 4).unwrap(),
        [0xee, 0xee, 0, 0]
    );
    // It is the file, not a copy.
    file.write_all_at(&[77], PAGE).unwrap();
    assert_eq!(load(&mut sandbox, at(PAGE), 2).unwrap(), [77, 2]);
    for addr in [at(3 * PAGE), at(0) - 1] {
        assert!(
            is_page_fault(&load(&mut sandbox, addr, 1).unwrap_err()),
            "{addr:#x}"
        );
        sandbox.restore(&snapshot).unwrap();
    }
    assert!(is_page_fault(&store(&mut sandbox, at(0), &[1]).unwrap_err()));
    sandbox.restore(&snapshot).unwrap();
    // Whatever the page tables are, the slot is read-only.
    let error = sandbox.call::<_, ()>("poke", (at(0), vec![1u8])).unwrap_err();
    assert!(is_access(&error), "{error}");
    sandbox.restore(&snapshot).unwrap();
    assert_eq!(load(&mut sandbox, at(0), 1).unwrap(), [1]);
    assert_eq!(sandbox.mappings().collect::<Vec<_>>(), [mapping]);
}

#[test]
fn a_restore_makes_a_copied_file_the_file_again() {
    let mut sandbox = build();
    let snapshot = sandbox.snapshot().unwrap();
    let file = file(5, 0);
    let options = FileOptions::copy_on_write()
        .with_offset(PAGE)
        .with_len(3 * PAGE - 7);
    let mapping = sandbox.map_file(&file, options).unwrap();
    let at = |offset| mapping.address() + offset;
    for _ in 0..3 {
        for page in [0, 2] {
            store(&mut sandbox, at(page * PAGE), &[9, 9]).unwrap();
        }
        let found = [0, 1, 2].map(|page| load(&mut sandbox, at(page * PAGE + 1), 2).unwrap());
        assert_eq!(found, [[9, 2], [3, 3], [9, 4]]);
        sandbox.restore(&snapshot).unwrap();
        let found = [0, 1, 2].map(|page| load(&mut sandbox, at(page * PAGE + 1), 2).unwrap());
        assert_eq!(found, [[2, 2], [3, 3], [4, 4]]);
    }
    let mut bytes = [0; 2];
    file.read_exact_at(&mut bytes, PAGE).unwrap();
    assert_eq!(bytes, [2, 2]);
}

#[test]
fn a_region_is_shared_by_host_and_guests() {
    let region = SharedRegion::new(5000).unwrap();
    assert_eq!(region.len(), 8192);
    region.write(4998, b"host").unwrap();
    let mut reader = build();
    let mut writer = build();
    let snapshot = writer.snapshot().unwrap();
    let read = reader.map_region(&region, RegionAccess::ReadOnly).unwrap();
    let written = writer.map_region(&region, RegionAccess::ReadWrite).unwrap();
    assert_eq!(load(&mut reader, read.address() + 4998, 4).unwrap(), b"host");
    store(&mut writer, written.address() + 8, &7u64.to_le_bytes()).unwrap();
    assert_eq!(region.load_u64(8).unwrap(), 7);
    // A restore does not change it.
    writer.restore(&snapshot).unwrap();
    assert_eq!(load(&mut reader, read.address() + 8, 2).unwrap(), [7, 0]);
    region.store_u64(8, 0x0102).unwrap();
    assert_eq!(load(&mut writer, written.address() + 8, 2).unwrap(), [2, 1]);
    assert!(is_page_fault(
        &store(&mut reader, read.address(), &[1]).unwrap_err()
    ));
    // Dropped in any order.
    drop(region);
    drop(reader);
    store(&mut writer, written.address(), &[1]).unwrap();
}

#[test]
fn regions_are_checked() {
    assert!(SharedRegion::new(0).is_err());
    assert!(SharedRegion::new(usize::MAX).is_err());
    let region = SharedRegion::new(1).unwrap();
    assert!(region.read(4095, &mut [0; 2]).is_err());
    assert!(region.write(usize::MAX, &[0; 2]).is_err());
    assert!(region.load_u64(1).is_err());
    assert!(region.store_u64(4096, 0).is_err());
}

#[test]
fn what_cannot_be_mapped() {
    let mut sandbox = build();
    let file = file(2, 1);
    let check = |sandbox: &mut Sandbox<Fake>, options, expected: &str| {
        let error = sandbox.map_file(&file, options).unwrap_err();
        assert_eq!(error.to_string(), expected);
        assert_eq!((sandbox.status(), sandbox.mappings().count()), (Status::Ready, 0));
    };
    let read_only = FileOptions::read_only();
    for (options, expected) in [
        (
            read_only.with_offset(1),
            "the offset 0x1 is not a multiple of 0x1000",
        ),
        (
            read_only.with_len(0),
            "there are no bytes to map from offset 0x0 of the file on",
        ),
        (
            read_only.with_offset(3 * PAGE),
            "there are no bytes to map from offset 0x3000 of the file on",
        ),
        (
            read_only.with_len(2 * PAGE + 2),
            "0x2002 bytes from offset 0x0 on are not in the file of 0x2001 bytes",
        ),
        (
            read_only.with_offset(!0xfff).with_len(u64::MAX),
            "0xffffffffffffffff bytes from offset 0xfffffffffffff000 on are not in the file of 0x2001 bytes",
        ),
    ] {
        check(&mut sandbox, options, expected);
    }
    for path in ["/dev/zero", "/"] {
        let other = File::open(path).unwrap();
        let error = sandbox.map_file(&other, read_only).unwrap_err();
        assert!(matches!(error, MapError::NotRegular), "{path}: {error}");
    }
    // The descriptor is for writing only.
    let name = env::temp_dir().join(format!("sandbox-write-only-{}", process::id()));
    let write_only = File::create(&name).unwrap();
    fs::remove_file(name).unwrap();
    write_only.set_len(PAGE).unwrap();
    let error = sandbox.map_file(&write_only, read_only).unwrap_err();
    assert!(matches!(error, MapError::Memory(_)), "{error}");
    // A sparse file takes addresses only.
    file.set_len(150 << 30).unwrap();
    let large = sandbox.map_file(&file, read_only).unwrap();
    let error = sandbox.map_file(&file, read_only).unwrap_err();
    assert!(
        matches!(error, MapError::NoSpace { len } if len == 150 << 30),
        "{error}"
    );
    assert_eq!(
        probe(&mut sandbox, large.address() + (150 << 30) - 1),
        Some((0, false))
    );
    let error = sandbox.call::<_, ()>("poke", (1u64, vec![0u8])).unwrap_err();
    assert!(is_access(&error));
    let error = sandbox.map_file(&file, read_only).unwrap_err();
    assert!(
        matches!(error, MapError::NotReady(Status::Poisoned(Cause::Exit))),
        "{error}"
    );
}

#[test]
fn large_mappings_have_large_pages() {
    let mut sandbox = build();
    let file = file(0, 0);
    file.set_len((3 << 30) + 0x20_1000).unwrap();
    let mapping = sandbox.map_file(&file, FileOptions::copy_on_write()).unwrap();
    let mut size = |addr: u64| sandbox.call::<_, u64>("page_size", (addr,)).unwrap();
    let start = mapping.address();
    for (offset, expected) in [
        (0, PageSize::Size2M.bytes()),
        ((3 << 30) + 0x1f_ffff, PageSize::Size2M.bytes()),
        ((3 << 30) + 0x20_0fff, PageSize::Size4K.bytes()),
        ((3 << 30) + 0x20_1000, 0),
    ] {
        assert_eq!(size(start + offset), expected, "{offset:#x}");
    }
    store(&mut sandbox, start + (3 << 30), &[1]).unwrap();
}

#[test]
fn mappings_are_no_part_of_snapshots() {
    let mut sandbox = build();
    let before = sandbox.snapshot().unwrap();
    let file = file(1, 0);
    let mapping = sandbox.map_file(&file, FileOptions::read_only()).unwrap();
    let error = sandbox.snapshot().unwrap_err();
    assert!(matches!(error, SnapshotError::Mapped { count: 1 }), "{error}");
    assert_eq!(sandbox.status(), Status::Ready);
    // Neither clones nor other sandboxes that return to the snapshot have it.
    let mut clone = Sandbox::clone_from(&before).unwrap();
    assert_eq!(clone.mappings().count(), 0);
    assert_eq!(probe(&mut clone, mapping.address()), None);
    sandbox.unmap(mapping).unwrap();
    let after = sandbox.snapshot().unwrap();
    clone.restore(&after).unwrap();
    assert_eq!(probe(&mut clone, mapping.address()), None);
    clone.map_file(&file, FileOptions::read_only()).unwrap();
    clone.restore(&before).unwrap();
    assert_eq!(probe(&mut clone, mapping.address()), Some((1, false)));
}

#[test]
fn unmapping() {
    let mut sandbox = build();
    let snapshot = sandbox.snapshot().unwrap();
    let file = file(1, 0);
    let [first, second] = [0; 2].map(|_| sandbox.map_file(&file, FileOptions::read_only()).unwrap());
    assert_eq!(second.address(), first.address() + layout::REGION_ALIGN);
    sandbox.unmap(first).unwrap();
    assert_eq!(probe(&mut sandbox, second.address()), Some((1, false)));
    assert!(is_page_fault(
        &load(&mut sandbox, first.address(), 1).unwrap_err()
    ));
    // A poisoned sandbox, and one that was unmapped before.
    let status = sandbox.status();
    sandbox.unmap(second).unwrap();
    assert_eq!(sandbox.status(), status);
    for gone in [first, second] {
        let error = sandbox.unmap(gone).unwrap_err();
        assert!(matches!(error, UnmapError::NotMapped { address } if address == gone.address()));
    }
    sandbox.restore(&snapshot).unwrap();
    // There is nothing at the physical address, either.
    let error = sandbox
        .call::<_, Vec<u8>>("peek", (second.address(), 1u32))
        .unwrap_err();
    assert!(is_access(&error), "{error}");
    sandbox.restore(&snapshot).unwrap();
    // An old value is none of a new mapping at the same address.
    let third = sandbox.map_file(&file, FileOptions::copy_on_write()).unwrap();
    assert_eq!((third.address(), third.len()), (first.address(), first.len()));
    assert!(sandbox.unmap(first).is_err());
    let mut other = build();
    assert!(matches!(other.unmap(third), Err(UnmapError::NotMapped { .. })));
    sandbox.map_file(&file, FileOptions::read_only()).unwrap();
    sandbox.unmap_all().unwrap();
    assert_eq!(sandbox.mappings().count(), 0);
    assert_eq!(probe(&mut sandbox, third.address()), None);
}

#[test]
fn the_number_of_mappings_is_limited() {
    let mut sandbox = build();
    let file = file(1, 0);
    let max = Sandbox::<Fake>::MAX_MAPPINGS;
    let mapped: Vec<Mapping> = (0..max)
        .map(|_| sandbox.map_file(&file, FileOptions::read_only()).unwrap())
        .collect();
    let error = sandbox.map_file(&file, FileOptions::read_only()).unwrap_err();
    assert!(
        matches!(error, MapError::TooMany { max: found } if found == max),
        "{error}"
    );
    sandbox.unmap(mapped[5]).unwrap();
    sandbox.map_file(&file, FileOptions::read_only()).unwrap();
    for mapping in &mapped {
        assert_eq!(probe(&mut sandbox, mapping.address()), Some((1, false)));
    }
}

#[test]
fn a_restore_undoes_changes_of_all_page_tables() {
    let mut sandbox = build();
    let snapshot = sandbox.snapshot().unwrap();
    let file = file(1, 0);
    let mapping = sandbox.map_file(&file, FileOptions::read_only()).unwrap();
    let tables: u64 = sandbox.call("tables", ()).unwrap();
    let len = u32::try_from(layout::REGION_TABLES_LEN).unwrap();
    let peek = |sandbox: &mut Sandbox<Fake>| -> [Vec<u8>; 2] {
        [
            sandbox.call("peek", (tables, 0x4000u32)).unwrap(),
            sandbox.call("peek", (layout::REGION_TABLES, len)).unwrap(),
        ]
    };
    let before = peek(&mut sandbox);
    assert!(before.iter().all(|bytes| bytes.iter().any(|byte| *byte != 0)));
    for at in [
        tables,
        // The entry of 1 GiB for mappings.
        tables + PAGE + 64 * 8,
        layout::REGION_TABLES,
        layout::REGION_TABLES + 2 * PAGE + 8,
        // Unused tables.
        layout::REGION_TABLES + 100 * PAGE,
        layout::REGIONS - 8,
    ] {
        sandbox.call::<_, ()>("poke", (at, vec![0xabu8; 8])).unwrap();
    }
    assert_ne!(peek(&mut sandbox), before);
    sandbox.restore(&snapshot).unwrap();
    assert_eq!(peek(&mut sandbox), before);
    assert_eq!(probe(&mut sandbox, mapping.address()), Some((1, false)));
    // Without mappings, the tables are those of the plan.
    sandbox.unmap(mapping).unwrap();
    let [plan, used] = peek(&mut sandbox);
    assert!(used.iter().all(|byte| *byte == 0));
    let mut fresh = Sandbox::clone_from(&snapshot).unwrap();
    assert_eq!(
        fresh.call::<_, Vec<u8>>("peek", (tables, 0x4000u32)).unwrap(),
        plan
    );
}

#[test]
fn a_file_that_becomes_shorter() {
    let mut sandbox = build();
    let snapshot = sandbox.snapshot().unwrap();
    let shared = file(4, 0);
    let copied = file(4, 0);
    let first = sandbox.map_file(&shared, FileOptions::read_only()).unwrap();
    let second = sandbox.map_file(&copied, FileOptions::copy_on_write()).unwrap();
    store(&mut sandbox, second.address() + 3 * PAGE, &[9]).unwrap();
    let fault = |sandbox: &mut Sandbox<Fake>, address: u64| {
        let error = sandbox.call::<_, ()>("fault", (address,)).unwrap_err();
        let status = sandbox.status();
        // Not even a restore, which drops pages, causes a signal.
        sandbox.restore(&snapshot).unwrap();
        (error, status)
    };
    // Nothing is too short.
    for address in [0, first.address(), second.address() + 3 * PAGE] {
        let (error, status) = fault(&mut sandbox, address);
        assert!(
            is_access(&error) && status == Status::Poisoned(Cause::Exit),
            "{error}"
        );
    }
    copied.set_len(2 * PAGE + 1).unwrap();
    for (address, is_truncated) in [
        (0, true),
        (first.address() + 3 * PAGE, false),
        (second.address() + 2 * PAGE, false),
        (second.address() + 3 * PAGE, true),
        (second.address() + 3 * PAGE + 5, true),
        (second.address() + 4 * PAGE, false),
    ] {
        let (error, status) = fault(&mut sandbox, address);
        match error {
            CallError::FileTruncated(error) if is_truncated => {
                assert_eq!((error.address, error.file_len), (second.address(), 2 * PAGE + 1));
                assert_eq!((error.offset, error.len), (0, 4 * PAGE));
                assert_eq!(status, Status::Poisoned(Cause::File));
            }
            error => assert!(!is_truncated && is_access(&error), "{address:#x}: {error}"),
        }
    }
    assert_eq!(
        load(&mut sandbox, second.address() + 2 * PAGE, 2).unwrap(),
        [3, 0]
    );
    sandbox.unmap(second).unwrap();
    shared.set_len(0).unwrap();
    let (error, _) = fault(&mut sandbox, first.address());
    assert!(matches!(error, CallError::FileTruncated(_)), "{error}");
    drop(sandbox);
}

#[test]
fn a_pool_gives_no_mappings_to_the_next_user() {
    let mut first = build();
    let pool = Pool::new(&first.snapshot().unwrap(), |builder| builder, 1);
    let file = file(1, 0);
    for crashes in [false, true] {
        let mut sandbox = pool.take().unwrap();
        let mapping = sandbox.map_file(&file, FileOptions::copy_on_write()).unwrap();
        store(&mut sandbox, mapping.address(), &[5]).unwrap();
        if crashes {
            load(&mut sandbox, 0, 1).unwrap_err();
        }
        drop(sandbox);
        assert_eq!(pool.idle(), 1);
        let mut sandbox = pool.take().unwrap();
        assert_eq!(sandbox.mappings().count(), 0);
        assert_eq!(probe(&mut sandbox, mapping.address()), None);
    }
}

/// What a test does with a sandbox.
#[derive(Clone, Debug)]
enum Step {
    File {
        pages: u8,
        copy: bool,
    },
    Region {
        pages: u8,
        write: bool,
    },
    Unmap(prop::sample::Index),
    Write {
        at: prop::sample::Index,
        page: u8,
        value: u8,
    },
    Corrupt {
        table: u16,
        value: u64,
    },
    Crash,
    Restore,
}

fn step() -> impl Strategy<Value = Step> {
    let index = any::<prop::sample::Index>;
    prop_oneof![
        3 => (1u8..6, any::<bool>()).prop_map(|(pages, copy)| Step::File { pages, copy }),
        2 => (1u8..6, any::<bool>()).prop_map(|(pages, write)| Step::Region { pages, write }),
        2 => index().prop_map(Step::Unmap),
        6 => (index(), 0u8..6, any::<u8>()).prop_map(|(at, page, value)| Step::Write { at, page, value }),
        1 => (0u16..512, any::<u64>()).prop_map(|(table, value)| Step::Corrupt { table, value }),
        1 => Just(Step::Crash),
        3 => Just(Step::Restore),
    ]
}

/// What a mapping is in the model.
struct Modelled {
    pages: BTreeMap<u8, u8>,
    /// The pages at each restore, unless it changes nothing.
    at_restore: Option<BTreeMap<u8, u8>>,
    is_writable: bool,
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn mappings_are_those_of_a_model(steps in prop::collection::vec(step(), 1..40)) {
        let mut sandbox = build();
        let snapshot = sandbox.snapshot().unwrap();
        let mut model: Vec<(Mapping, Modelled)> = Vec::new();
        let mut was_mapped = Vec::new();
        for step in steps {
            let is_full = model.len() == Sandbox::<Fake>::MAX_MAPPINGS;
            match step {
                Step::File { .. } | Step::Region { .. } if is_full => continue,
                Step::File { pages, copy } => {
                    let options = if copy { FileOptions::copy_on_write() } else { FileOptions::read_only() };
                    let mapping = sandbox.map_file(&file(pages, 0), options).unwrap();
                    let pages: BTreeMap<_, _> = (0..pages).map(|page| (page, page + 1)).collect();
                    let at_restore = copy.then(|| pages.clone());
                    model.push((mapping, Modelled { pages, at_restore, is_writable: copy }));
                }
                Step::Region { pages, write } => {
                    let region = SharedRegion::new(usize::from(pages) * 4096).unwrap();
                    let access = if write { RegionAccess::ReadWrite } else { RegionAccess::ReadOnly };
                    let mapping = sandbox.map_region(&region, access).unwrap();
                    let pages = (0..pages).map(|page| (page, 0)).collect();
                    model.push((mapping, Modelled { pages, at_restore: None, is_writable: write }));
                }
                Step::Unmap(_) | Step::Write { .. } if model.is_empty() => continue,
                Step::Unmap(index) => {
                    let (mapping, _) = model.swap_remove(index.index(model.len()));
                    sandbox.unmap(mapping).unwrap();
                    was_mapped.push(mapping.address());
                }
                Step::Write { at, page, value } => {
                    let at = at.index(model.len());
                    let (mapping, modelled) = &mut model[at];
                    let addr = mapping.address() + u64::from(page) * PAGE;
                    let stored = store(&mut sandbox, addr, &[value]);
                    match modelled.pages.get_mut(&page).filter(|_| modelled.is_writable) {
                        Some(byte) => {
                            stored.unwrap();
                            *byte = value;
                        }
                        None => prop_assert!(is_page_fault(&stored.unwrap_err())),
                    }
                }
                Step::Corrupt { table, value } => {
                    // The slot exists from the first mapping on. The restore follows, because anything may be mapped now.
                    let addr = layout::REGION_TABLES + u64::from(table) * PAGE + value % 512 * 8;
                    let poked = sandbox.call::<_, ()>("poke", (addr, value.to_le_bytes().to_vec()));
                    prop_assert!(poked.is_ok() || (model.is_empty() && was_mapped.is_empty()));
                }
                Step::Crash => {
                    sandbox.call::<_, ()>("poke", (0u64, vec![0u8])).unwrap_err();
                    // Some are unmapped before the restore.
                    if let Some((mapping, _)) = model.pop() {
                        sandbox.unmap(mapping).unwrap();
                        was_mapped.push(mapping.address());
                    }
                }
                Step::Restore => {}
            }
            if matches!(step, Step::Restore | Step::Corrupt { .. }) || sandbox.status() != Status::Ready {
                sandbox.restore(&snapshot).unwrap();
                for (_, modelled) in &mut model {
                    if let Some(pages) = &modelled.at_restore {
                        modelled.pages.clone_from(pages);
                    }
                }
            }
            let mut mapped: Vec<_> = model.iter().map(|(mapping, _)| *mapping).collect();
            mapped.sort_unstable_by_key(Mapping::address);
            prop_assert_eq!(sandbox.mappings().collect::<Vec<_>>(), mapped);
            for (mapping, modelled) in &model {
                for (page, value) in &modelled.pages {
                    let found = probe(&mut sandbox, mapping.address() + u64::from(*page) * PAGE);
                    prop_assert_eq!(found, Some((*value, modelled.is_writable)));
                }
                let end = mapping.address() + mapping.len();
                prop_assert_eq!(probe(&mut sandbox, end), None);
            }
            for addr in &was_mapped {
                if model.iter().all(|(mapping, _)| mapping.address() != *addr) {
                    prop_assert_eq!(probe(&mut sandbox, *addr), None);
                }
            }
        }
    }
}

/// The debugger and others read mappings through the kernel: a page past the end of the file is no signal.
#[test]
fn pages_past_the_end_are_errors_for_the_host() {
    let file = file(1, 0);
    let mapping = guest_ram::HostMapping::shared_read_only(&file, 0, 4096).unwrap();
    file.set_len(0).unwrap();
    let range = boot_core::GuestRange::new(0, PAGE).unwrap();
    let region = guest_ram::RamRegion::from_mapping(range, std::sync::Arc::new(mapping), 0).unwrap();
    let error = region.read_as_guest(0, &mut [0]).unwrap_err();
    assert_eq!(error.kind(), io::Error::from_raw_os_error(14).kind());
}
