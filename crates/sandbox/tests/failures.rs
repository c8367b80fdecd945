//! Every operation of the hypervisor fails in turn: the error is clean, the sandbox has a status that fits, and nothing leaks.
//!
//! A program of its own with one test, because it counts the file descriptors and mappings of the process.

#[path = "fake/guest.rs"]
#[expect(dead_code, reason = "the other test program uses all of it")]
mod guest;

use std::fs;

use guest_ram::Memfd;
use hv_core::fake::FakeError;
use sandbox::{
    BuildError, CallError, Cause, Fake, FileOptions, LoadOptions, MapError, RegionAccess, RestoreError,
    Sandbox, SandboxBuilder, SharedRegion, Snapshot, SnapshotError, Status, UnmapError,
};
use sandbox_abi::GuestStatus;

use guest::{Action, Functions, boot_info, returns};

fn functions() -> Functions {
    Functions::new()
        .typed::<(u64, u8), ()>("set", |cpu, (page, value): (u64, u8)| {
            let heap = boot_info(cpu).heap.get();
            cpu.write(heap + page * 0x1000, &[value]).unwrap();
            returns(())
        })
        .typed::<(u64,), u8>("get", |cpu, (page,): (u64,)| {
            let mut byte = [0];
            let heap = boot_info(cpu).heap.get();
            cpu.read(heap + page * 0x1000, &mut byte).unwrap();
            returns(byte[0])
        })
        .typed::<(u64, u8), ()>("put", |cpu, (addr, value): (u64, u8)| {
            match cpu.write(addr, &[value]) {
                Ok(()) => returns(()),
                Err(fault) => Action::Exit(fault.into()),
            }
        })
        .typed::<(u64,), u8>("at", |cpu, (addr,): (u64,)| {
            let mut byte = [0];
            match cpu.read(addr, &mut byte) {
                Ok(()) => returns(byte[0]),
                Err(fault) => Action::Exit(fault.into()),
            }
        })
        .bytes("host", |_, bytes| {
            Action::HostCall(
                0,
                bytes,
                Box::new(|_, _, bytes| Action::Return(GuestStatus::OK, bytes)),
            )
        })
        .import_bytes("same")
}

fn register(builder: SandboxBuilder<Fake>) -> SandboxBuilder<Fake> {
    builder.register_bytes("same", |_, bytes, result| {
        result.extend(bytes);
        Ok(())
    })
}

/// What failed, with the status that it left.
#[derive(Debug)]
enum Failed {
    Build,
    Call(Status),
    Snapshot(Status),
    Restore(Status),
    Map(Status),
    Unmap(Status),
}

/// The injected failure of the hypervisor among the sources of `error`.
fn injected(error: &(dyn std::error::Error + 'static)) -> bool {
    std::iter::successors(Some(error), |error| error.source())
        .any(|error| matches!(error.downcast_ref(), Some(FakeError::Injected { .. })))
}

fn call(sandbox: &mut Sandbox<Fake>, page: u64, value: u8) -> Result<(), CallError> {
    sandbox.call::<_, ()>("set", (page, value))?;
    let mut result = Vec::new();
    sandbox.call_bytes("host", &[value], &mut result)?;
    assert_eq!(result, [value]);
    assert_eq!(sandbox.call::<_, u8>("get", (page,))?, value);
    Ok(())
}

/// A life of a sandbox and a clone in which operation `fail_at` of each machine fails.
fn life(functions: &Functions, fail_at: Option<usize>) -> Result<(), Failed> {
    let build = |builder| {
        register(builder).build().map_err(|error: BuildError| {
            assert!(injected(&error), "{error:?}");
            Failed::Build
        })
    };
    let fake = functions.fake().with_fail_at(fail_at);
    let mut sandbox = build(SandboxBuilder::on(fake, functions.program()))?;
    let called = |sandbox: &Sandbox<Fake>, error: CallError| {
        assert!(injected(&error), "{error:?}");
        Failed::Call(sandbox.status())
    };
    let first = take(&mut sandbox)?;
    call(&mut sandbox, 1, 5).map_err(|error| called(&sandbox, error))?;
    let second = take(&mut sandbox)?;
    call(&mut sandbox, 1, 6).map_err(|error| called(&sandbox, error))?;
    for (snapshot, value) in [(&second, 5), (&first, 0), (&second, 5)] {
        restore(&mut sandbox, snapshot)?;
        let found = sandbox.call::<_, u8>("get", (1u64,));
        assert_eq!(found.map_err(|error| called(&sandbox, error))?, value);
    }
    let mut clone = build(SandboxBuilder::from_snapshot(&second))?;
    call(&mut clone, 2, 7).map_err(|error| called(&clone, error))
}

fn take(sandbox: &mut Sandbox<Fake>) -> Result<Snapshot<Fake>, Failed> {
    sandbox.snapshot().map_err(|error: SnapshotError| {
        assert!(injected(&error), "{error:?}");
        usable(sandbox, Failed::Snapshot(sandbox.status()))
    })
}

fn restore(sandbox: &mut Sandbox<Fake>, snapshot: &Snapshot<Fake>) -> Result<(), Failed> {
    sandbox.restore(snapshot).map_err(|error: RestoreError| {
        assert!(injected(&error), "{error:?}");
        usable(sandbox, Failed::Restore(sandbox.status()))
    })
}

/// A life of a sandbox with a mapped file and a region in which operation `fail_at` of the machine fails.
fn mapped_life(functions: &Functions, fail_at: Option<usize>) -> Result<(), Failed> {
    let fake = functions.fake().with_fail_at(fail_at);
    let build = register(SandboxBuilder::on(fake, functions.program())).build();
    let mut sandbox = build.map_err(|error| {
        assert!(injected(&error), "{error:?}");
        Failed::Build
    })?;
    let called = |sandbox: &Sandbox<Fake>, error: CallError| {
        assert!(injected(&error), "{error:?}");
        Failed::Call(sandbox.status())
    };
    let snapshot = take(&mut sandbox)?;
    let file = Memfd::create(c"sandbox-mapped", 0x3000).unwrap();
    let count = |sandbox: &Sandbox<Fake>| sandbox.mappings().count();
    let map = |sandbox: &mut Sandbox<Fake>, error: MapError, before: usize| {
        assert!(injected(&error), "{error:?}");
        assert_eq!(count(sandbox), before);
        usable(sandbox, Failed::Map(sandbox.status()))
    };
    let unmap = |sandbox: &mut Sandbox<Fake>, error: UnmapError, before: usize| {
        assert!(injected(&error), "{error:?}");
        assert_eq!(count(sandbox), before);
        usable(sandbox, Failed::Unmap(sandbox.status()))
    };
    let copy = sandbox.map_file(&file, FileOptions::copy_on_write());
    let copy = copy.map_err(|error| map(&mut sandbox, error, 0))?;
    let stored = sandbox.call::<_, ()>("put", (copy.address() + 0x1000, 7u8));
    stored.map_err(|error| called(&sandbox, error))?;
    restore(&mut sandbox, &snapshot)?;
    let found = sandbox.call::<_, u8>("at", (copy.address() + 0x1000,));
    assert_eq!(found.map_err(|error| called(&sandbox, error))?, 0);
    let region = SharedRegion::new(1).unwrap();
    let shared = sandbox.map_region(&region, RegionAccess::ReadWrite);
    let shared = shared.map_err(|error| map(&mut sandbox, error, 1))?;
    let removed = sandbox.unmap(copy);
    removed.map_err(|error| unmap(&mut sandbox, error, 2))?;
    let stored = sandbox.call::<_, ()>("put", (shared.address(), 8u8));
    stored.map_err(|error| called(&sandbox, error))?;
    assert_eq!(region.load_u64(0).unwrap(), 8);
    // Nothing is mapped there any more, so the guest crashes.
    match sandbox.call::<_, u8>("at", (copy.address(),)) {
        Err(CallError::Crashed(_)) => {}
        other => return Err(called(&sandbox, other.unwrap_err())),
    }
    let removed = sandbox.unmap(shared);
    removed.map_err(|error| unmap(&mut sandbox, error, 1))?;
    restore(&mut sandbox, &snapshot)
}

/// Checks that a ready sandbox executes calls, and another one refuses them. The injected failure was the only one.
fn usable(sandbox: &mut Sandbox<Fake>, failed: Failed) -> Failed {
    let status = sandbox.status();
    match (status, call(sandbox, 3, 9)) {
        (Status::Ready, Ok(())) => {}
        (_, Err(CallError::NotReady(found))) => assert_eq!(found, status),
        (status, called) => panic!("{status}: {called:?}"),
    }
    failed
}

/// Loads files of a snapshot that are damaged at the start, in the program, in the registers, and in the pages.
fn damaged_files(functions: &Functions) {
    let load = |file: &[u8]| Snapshot::read_from(functions.fake(), &file, LoadOptions::default());
    let mut sandbox = register(SandboxBuilder::on(functions.fake(), functions.program()))
        .build()
        .unwrap();
    call(&mut sandbox, 1, 5).unwrap();
    let mut file = Vec::new();
    sandbox.snapshot().unwrap().write_to(&mut file).unwrap();
    for at in (0..file.len()).step_by(61) {
        load(&file[..at]).unwrap_err();
        file[at] ^= 0x10;
        load(&file).unwrap_err();
        file[at] ^= 0x10;
    }
    let loaded = load(&file).unwrap();
    let mut clone = register(SandboxBuilder::from_snapshot(&loaded)).build().unwrap();
    call(&mut clone, 2, 7).unwrap();
}

/// Number of file descriptors, and of mappings of the files of sandboxes. Each mapping of a sandbox has such a part; others without a file come
/// and go with the allocator.
fn resources() -> (usize, usize) {
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    let lines = maps.lines().filter(|line| line.contains("memfd:sandbox"));
    (fs::read_dir("/proc/self/fd").unwrap().count(), lines.count())
}

#[test]
fn every_operation_fails_in_turn() {
    let functions = functions();
    // The thread of deadlines and so on.
    for _ in 0..3 {
        life(&functions, None).unwrap();
        life(&functions, Some(20)).unwrap_err();
        mapped_life(&functions, None).unwrap();
        mapped_life(&functions, Some(12)).unwrap_err();
        damaged_files(&functions);
    }
    let before = resources();
    let mut counts = [0; 6];
    for number in 0.. {
        let kind = match life(&functions, Some(number)) {
            Ok(()) => break,
            Err(Failed::Build) => 0,
            Err(Failed::Call(Status::Poisoned(Cause::Backend))) => 1,
            Err(Failed::Snapshot(Status::Ready)) => 2,
            Err(Failed::Snapshot(Status::Poisoned(Cause::Snapshot))) => 3,
            Err(Failed::Restore(Status::Ready)) => 4,
            Err(Failed::Restore(Status::Unrecoverable(Cause::Restore))) => 5,
            Err(failed) => panic!("operation {number}: {failed:?}"),
        };
        counts[kind] += 1;
    }
    // Two slots, the CPU, its state, and the first run; the clone fails at the same operations and ends the life earlier. Two sets of
    // calls of four runs, and four restored ones; two snapshots, of which the first reads the registers; three restores of two operations
    // each.
    assert_eq!(counts, [5, 11, 2, 1, 3, 3]);
    damaged_files(&functions);
    assert_eq!(resources(), before);
    let mut counts = [0; 9];
    let mut good = 0;
    for number in 0.. {
        let kind = match mapped_life(&functions, Some(number)) {
            // The report of the crash is then without registers.
            Ok(()) if good == 0 => {
                good = 1;
                continue;
            }
            Ok(()) => break,
            Err(Failed::Build) => 0,
            Err(Failed::Call(Status::Poisoned(Cause::Backend))) => 1,
            Err(Failed::Snapshot(_)) => 2,
            Err(Failed::Map(Status::Ready)) => 3,
            Err(Failed::Map(Status::Poisoned(Cause::Backend))) => 4,
            Err(Failed::Unmap(Status::Ready)) => 5,
            Err(Failed::Unmap(Status::Poisoned(_))) => 6,
            Err(Failed::Restore(Status::Ready | Status::Poisoned(_))) => 7,
            Err(Failed::Restore(Status::Unrecoverable(Cause::Restore))) => 8,
            Err(failed) => panic!("operation {number}: {failed:?}"),
        };
        counts[kind] += 1;
    }
    // As above; four calls; a snapshot of two operations. Slots of page
    // tables, file and region; two rewinds before them. A slot is unmapped while the sandbox is ready, after a rewind, and one while it is
    // poisoned. Restores ask for the pages of memory and page tables, and the first one for those of the file.
    assert_eq!(counts, [5, 4, 2, 3, 2, 1, 2, 5, 2]);
    assert_eq!(resources(), before);
    // They are counted: a sandbox has some.
    let _sandbox = register(SandboxBuilder::on(functions.fake(), functions.program()))
        .build()
        .unwrap();
    assert!(resources().1 > before.1);
}
