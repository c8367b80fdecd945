//! Debuggers, without KVM.

use std::io::Write;
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::Duration;

use guest_ram::Memfd;
use hv_core::fake::{FakeCpu, FakeExit};
use hv_core::{DebugCause, DebugStop};
use hv_kvm_test::gdb_client::{Client, ClientResult, joined};
use sandbox::{
    CallError, CallOptions, Cause, DebugError, Fake, FakeProgram, FileOptions, Pool, RegionAccess, Sandbox,
    SandboxBuilder, SharedRegion, Status,
};
use sandbox_abi::layout;

use crate::guest::{Action, Functions, boot_info, returns};

/// Address of an instruction in the image, which is a page.
const PLACE: u64 = layout::IMAGE + 0x100;

/// Executes the instruction at [`PLACE`], which adds 1 to the word at the start of the data.
fn execute(cpu: &mut FakeCpu<'_>) -> Action {
    let mut code = [0];
    cpu.read(PLACE, &mut code).unwrap();
    let stop = |pc, cause| FakeExit::Debug(DebugStop::new(pc, cause));
    if code == [0xf4] {
        return Action::Pause(stop(PLACE, DebugCause::Breakpoint), Box::new(execute));
    }
    let mut bytes = [0; 8];
    cpu.read(FakeProgram::DATA, &mut bytes).unwrap();
    let value = u64::from_le_bytes(bytes) + 1;
    cpu.write(FakeProgram::DATA, &value.to_le_bytes()).unwrap();
    let end = move |_: &mut FakeCpu<'_>| returns(value);
    if cpu.debug().step {
        return Action::Pause(stop(PLACE + 1, DebugCause::Step), Box::new(end));
    }
    returns(value)
}

fn functions() -> Functions {
    Functions::new()
        .data(&[0; 8])
        .typed::<(), u64>("add", |cpu, ()| execute(cpu))
        .typed::<(), u64>("get", |cpu, ()| {
            let mut bytes = [0; 8];
            cpu.read(FakeProgram::DATA, &mut bytes).unwrap();
            returns(u64::from_le_bytes(bytes))
        })
        .typed::<(), u64>("outbox", |cpu, ()| returns(boot_info(cpu).outbox.get()))
        .typed::<(), ()>("spin", |cpu, ()| match cpu.spin_until_kicked() {
            exit @ FakeExit::Interrupted => Action::Pause(exit, Box::new(|_| returns(()))),
            exit => Action::Exit(exit),
        })
        .typed::<(), ()>("halt", |_, ()| Action::Exit(FakeExit::Halt))
}

fn sandbox() -> Sandbox<Fake> {
    let functions = functions();
    SandboxBuilder::on(functions.fake(), functions.program())
        .build()
        .unwrap()
}

fn add(sandbox: &mut Sandbox<Fake>) -> Result<u64, CallError> {
    sandbox.call("add", ())
}

/// Lets a client debug what `calls` does with the sandbox.
fn debug<T>(
    sandbox: &mut Sandbox<Fake>,
    client: impl FnOnce(Client) -> ClientResult + Send + 'static,
    calls: impl FnOnce(&mut Sandbox<Fake>) -> T,
) -> T {
    let (stub, end) = UnixStream::pair().unwrap();
    let client = thread::spawn(move || client(Client::new(end)?));
    sandbox.attach_debugger(stub).unwrap();
    let result = calls(sandbox);
    joined(client).unwrap().unwrap();
    result
}

fn breakpoint(client: &mut Client, kind: &str) -> ClientResult {
    client.expect(&format!("{kind},{PLACE:x},1"), "OK")
}

#[test]
fn calls_stop_at_breakpoints_of_one_sandbox() {
    let mut sandbox = sandbox();
    let sums = debug(
        &mut sandbox,
        |mut client| {
            breakpoint(&mut client, "Z0")?;
            for count in ["00", "01", "02"] {
                client.expect("c", "T05")?;
                client.expect(&format!("m{:x},1", FakeProgram::DATA), count)?;
                // The debugger sees the code, not its breakpoint.
                client.expect(&format!("m{PLACE:x},1"), "00")?;
                breakpoint(&mut client, "z0")?;
                client.expect("s", "S05")?;
                breakpoint(&mut client, "Z0")?;
            }
            client.expect("D", "OK")
        },
        |sandbox| {
            // Another sandbox of the same image has no breakpoint.
            let mut copy = Sandbox::clone_from(&sandbox.snapshot().unwrap()).unwrap();
            let sums = [(); 3].map(|()| add(sandbox).unwrap());
            assert_eq!(add(&mut copy).unwrap(), 1);
            sums
        },
    );
    assert_eq!(sums, [1, 2, 3]);
    assert!(!sandbox.is_debugged());
    assert_eq!(add(&mut sandbox).unwrap(), 4);
}

#[test]
fn snapshots_have_what_the_debugger_wrote_to_data_only() {
    let mut sandbox = sandbox();
    let before = sandbox.snapshot().unwrap();
    let outbox = sandbox.call::<_, u64>("outbox", ()).unwrap();
    let values = debug(
        &mut sandbox,
        move |mut client| {
            breakpoint(&mut client, "Z0")?;
            client.expect(&format!("M{:x},1:28", FakeProgram::DATA), "OK")?;
            // Breakpoints are for code; host pages, window and page tables are not written.
            client.expect(&format!("Z0,{:x},1", FakeProgram::DATA), "E")?;
            for address in [layout::BOOT_INFO, layout::INBOX, outbox, layout::IMAGE - 1] {
                client.expect(&format!("M{address:x},1:00"), "E")?;
            }
            client.expect("c", "T05")?;
            client.expect("D", "OK")
        },
        |sandbox| {
            let with_write = sandbox.snapshot().unwrap();
            let mut copy = Sandbox::clone_from(&with_write).unwrap();
            let mut values = vec![add(&mut copy).unwrap()];
            for snapshot in [&before, &with_write, &before] {
                sandbox.restore(snapshot).unwrap();
                values.push(sandbox.call("get", ()).unwrap());
            }
            // Restores keep the breakpoint.
            values.push(add(sandbox).unwrap());
            values
        },
    );
    assert_eq!(values, [41, 0, 40, 0, 1]);
}

#[test]
fn a_debugger_reads_mapped_files_and_regions() {
    let mut sandbox = sandbox();
    let region = SharedRegion::new(4096).unwrap();
    region.write(0x10, b"region").unwrap();
    let file = Memfd::create(c"sandbox-mapped", 4096).unwrap();
    let mut contents = file.file();
    contents.write_all(b"file").unwrap();
    let file = sandbox.map_file(&file, FileOptions::read_only()).unwrap();
    let region = sandbox.map_region(&region, RegionAccess::ReadWrite).unwrap();
    let result = debug(
        &mut sandbox,
        move |mut client| {
            client.expect(&format!("m{:x},4", file.address()), "66696c65")?;
            client.expect(&format!("m{:x},6", region.address() + 0x10), "726567696f6e")?;
            for address in [file.address(), region.address(), layout::REGION_TABLES] {
                client.expect(&format!("M{address:x},1:00"), "E")?;
            }
            client.expect(&format!("m{:x},1", file.address() + 4096), "E")?;
            client.expect("D", "OK")
        },
        add,
    );
    assert_eq!(result.unwrap(), 1);
}

#[test]
fn kill_ends_the_call_and_detach_does_not() {
    for (end, is_killed) in [("k", true), ("D", false)] {
        let mut sandbox = sandbox();
        let snapshot = sandbox.snapshot().unwrap();
        let result = debug(
            &mut sandbox,
            move |mut client| {
                breakpoint(&mut client, "Z0")?;
                client.expect("c", "T05")?;
                client.send(end)
            },
            add,
        );
        assert!(!sandbox.is_debugged());
        if is_killed {
            assert!(matches!(result, Err(CallError::Interrupted)), "{result:?}");
            assert_eq!(sandbox.status(), Status::Poisoned(Cause::Interrupted));
            let (stub, _client) = UnixStream::pair().unwrap();
            let refused = sandbox.attach_debugger(stub).unwrap_err();
            assert!(matches!(refused, DebugError::NotReady(_)), "{refused}");
            sandbox.restore(&snapshot).unwrap();
            assert_eq!(add(&mut sandbox).unwrap(), 1);
        } else {
            assert_eq!(result.unwrap(), 1);
        }
    }
}

#[test]
fn a_debugger_that_kills_before_the_first_call_is_refused() {
    let mut sandbox = sandbox();
    let (stub, end) = UnixStream::pair().unwrap();
    let client = thread::spawn(move || Client::new(end)?.send("k"));
    let refused = sandbox.attach_debugger(stub).unwrap_err();
    assert!(matches!(refused, DebugError::Killed), "{refused}");
    joined(client).unwrap().unwrap();
    assert_eq!(add(&mut sandbox).unwrap(), 1);
}

#[test]
fn a_lost_connection_is_a_detach() {
    let mut sandbox = sandbox();
    let (stub, end) = UnixStream::pair().unwrap();
    drop(end);
    sandbox.attach_debugger(stub).unwrap();
    assert!(!sandbox.is_debugged());
    let result = debug(
        &mut sandbox,
        |mut client| {
            breakpoint(&mut client, "Z0")?;
            client.expect("c", "T05")
        },
        add,
    );
    assert_eq!(result.unwrap(), 1);
    assert!(!sandbox.is_debugged());
}

#[test]
fn deadlines_stand_still_while_the_guest_is_stopped() {
    const LIMIT: Duration = Duration::from_millis(200);
    let mut sandbox = sandbox();
    let options = CallOptions::default().with_deadline(LIMIT);
    let (sum, late) = debug(
        &mut sandbox,
        |mut client| {
            breakpoint(&mut client, "Z0")?;
            client.expect("c", "T05")?;
            thread::sleep(2 * LIMIT);
            breakpoint(&mut client, "z0")?;
            client.send("c")
        },
        |sandbox| {
            let function = sandbox.function::<(), u64>("add").unwrap();
            let sum = sandbox.invoke(&function, &(), options);
            let function = sandbox.function::<(), ()>("spin").unwrap();
            let late = sandbox.invoke(&function, &(), options);
            (sum, late)
        },
    );
    assert_eq!(sum.unwrap(), 1);
    // The guest may end first, because the debugger's end kicks it.
    assert!(
        matches!(late, Ok(()) | Err(CallError::Deadline { .. })),
        "{late:?}"
    );
}

#[test]
fn an_interrupt_ends_a_stopped_call_when_it_goes_on() {
    let mut sandbox = sandbox();
    let interrupt = sandbox.interrupt_handle();
    let result = debug(
        &mut sandbox,
        move |mut client| {
            breakpoint(&mut client, "Z0")?;
            client.expect("c", "T05")?;
            assert!(interrupt.interrupt());
            // Still stopped.
            client.expect(&format!("m{:x},1", FakeProgram::DATA), "00")?;
            breakpoint(&mut client, "z0")?;
            client.send("c")
        },
        add,
    );
    assert!(matches!(result, Err(CallError::Interrupted)), "{result:?}");
    assert_eq!(sandbox.status(), Status::Poisoned(Cause::Interrupted));
}

#[test]
fn a_halt_of_the_guest_is_a_crash_as_without_a_debugger() {
    let mut sandbox = sandbox();
    let result = debug(
        &mut sandbox,
        |mut client| client.send("c"),
        |sandbox| sandbox.call::<_, ()>("halt", ()),
    );
    assert!(matches!(result, Err(CallError::Crashed(_))), "{result:?}");
}

#[test]
fn only_one_debugger_is_attached_and_the_host_can_detach_it() {
    let mut sandbox = sandbox();
    let result = debug(
        &mut sandbox,
        |mut client| {
            breakpoint(&mut client, "Z0")?;
            client.send("c")
        },
        |sandbox| {
            let (stub, _client) = UnixStream::pair().unwrap();
            let refused = sandbox.attach_debugger(stub).unwrap_err();
            assert!(matches!(refused, DebugError::Attached), "{refused}");
            sandbox.detach_debugger().unwrap();
            sandbox.detach_debugger().unwrap();
            add(sandbox)
        },
    );
    assert_eq!(result.unwrap(), 1);
}

#[test]
fn a_pool_does_not_take_a_debugged_sandbox_back() {
    let pool = Pool::new(&sandbox().snapshot().unwrap(), |builder| builder, 4);
    for (is_debugged, idle) in [(false, 1), (true, 0)] {
        let mut pooled = pool.take().unwrap();
        if is_debugged {
            debug(&mut pooled, |mut client| client.send("c"), |_| ());
        }
        drop(pooled);
        assert_eq!(pool.idle(), idle);
    }
}

/// Whatever fails, the sandbox is as before, or it says that it is not; and a failed detach does not leave a breakpoint.
#[test]
fn every_failure_of_the_hypervisor_is_clean() {
    let functions = functions();
    let mut failures = 0;
    for fail_at in 0.. {
        let fake = functions.fake().with_fail_at(Some(fail_at));
        let Ok(mut sandbox) = SandboxBuilder::on(fake, functions.program()).build() else {
            continue;
        };
        let (stub, end) = UnixStream::pair().unwrap();
        let client = thread::spawn(move || -> ClientResult {
            let mut client = Client::new(end)?;
            breakpoint(&mut client, "Z0")?;
            client.expect("c", "T05")?;
            client.expect("D", "OK")
        });
        let attached = sandbox.attach_debugger(stub);
        let called = add(&mut sandbox);
        let detached = sandbox.detach_debugger();
        // It may have seen errors, and the end of the connection.
        let seen = joined(client).unwrap();
        let is_clean = attached.is_ok() && called.is_ok() && detached.is_ok();
        if is_clean && seen.is_ok() {
            // The failure is one after the detach.
            break;
        }
        match sandbox.status() {
            Status::Ready => assert_eq!(add(&mut sandbox).unwrap(), called.map_or(1, |sum| sum + 1)),
            Status::Poisoned(cause) => {
                assert_eq!(cause, Cause::Backend);
                assert!(called.is_err());
            }
            Status::Unrecoverable(_) => assert!(attached.is_err() || called.is_err() || detached.is_err()),
        }
        failures += 1;
    }
    assert!(failures >= 5, "{failures}");
}
