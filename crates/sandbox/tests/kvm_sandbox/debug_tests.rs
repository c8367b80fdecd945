//! Debuggers on running sandboxes, by gdb's remote protocol.

use std::error::Error;
use std::os::unix::net::UnixStream;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use hv_kvm_test::expect;
use hv_kvm_test::gdb_client::{Client, ClientResult, joined};
use sandbox::{
    CallError, CallOptions, Cause, CopyOnWrite, DebugError, FileOptions, RegionAccess, Sandbox,
    SandboxBuilder, SharedRegion, Status,
};
use sandbox_abi::layout;

use crate::guest::{Test, TestResult, builder, crash, with_functions};

pub(crate) const TESTS: &[Test] = &[
    ("sandbox::debug::breakpoints_and_steps", breakpoints),
    ("sandbox::debug::ctrl_c_and_kill", ctrl_c),
    ("sandbox::debug::a_lost_connection", lost),
    ("sandbox::debug::snapshots_without_breakpoints", snapshots),
    ("sandbox::debug::deadlines_stand_still", deadlines),
    ("sandbox::debug::a_panic_is_a_stop", panic),
    ("sandbox::debug::detach_by_the_host", detach),
    ("sandbox::debug::mappings", mappings),
    ("sandbox::debug::guest_copies", guest_copies),
];

/// Tests with breakpoints of the hardware, which some hosts lack.
pub(crate) const HARDWARE_TESTS: &[Test] = &[("sandbox::debug::watchpoints", watchpoints)];

/// Positions of the first parameter and of the program counter in gdb's block of registers, in 64-bit words.
const PARAMETER: usize = if cfg!(target_arch = "x86_64") {
    5
} else if cfg!(target_arch = "aarch64") {
    0
} else {
    10
};
const PC: usize = if cfg!(target_arch = "x86_64") { 16 } else { 32 };

/// What gdb calls the kind of a breakpoint.
const BREAKPOINT_LEN: u64 = if cfg!(target_arch = "x86_64") { 1 } else { 4 };

/// `debug_add` of the guest, the sum in its memory, and the word that debuggers write.
#[derive(Clone, Copy)]
pub(crate) struct Addresses {
    add: u64,
    total: u64,
    verdict: u64,
}

impl Addresses {
    pub(crate) fn of(sandbox: &mut Sandbox) -> Result<Self, CallError> {
        let (add, total, verdict) = sandbox.call("debug_addresses", ())?;
        Ok(Self { add, total, verdict })
    }

    /// The packet about a breakpoint at `debug_add`: `Z0` adds, `z0` removes it.
    fn breakpoint(&self, kind: &str) -> String {
        format!("{kind},{:x},{BREAKPOINT_LEN}", self.add)
    }

    /// Goes on from the breakpoint at `debug_add`, as gdb does: without it for one step.
    fn leave(&self, client: &mut Client) -> ClientResult {
        client.expect(&self.breakpoint("z0"), "OK")?;
        client.expect("s", "S05")?;
        client.expect(&self.breakpoint("Z0"), "OK")
    }
}

/// The first parameter and the program counter.
fn registers(client: &mut Client) -> ClientResult<(u64, u64)> {
    let block = client.ask("g")?;
    let word = |at: usize| {
        let hex = block.get(at * 16..at * 16 + 16).ok_or("short block")?;
        Ok::<_, Box<dyn Error + Send + Sync>>(u64::from_str_radix(hex, 16)?.swap_bytes())
    };
    Ok((word(PARAMETER)?, word(PC)?))
}

fn word(client: &mut Client, address: u64) -> ClientResult<u64> {
    let hex = client.ask(&format!("m{address:x},8"))?;
    Ok(u64::from_str_radix(&hex, 16)?.swap_bytes())
}

fn same<T: PartialEq + std::fmt::Debug>(what: &str, found: &T, expected: &T) -> ClientResult {
    expect(what, found, expected).map_err(|error| error.to_string().into())
}

/// Lets a client debug what `calls` does with the sandbox.
fn debug<T>(
    sandbox: &mut Sandbox,
    client: impl FnOnce(Client) -> ClientResult + Send + 'static,
    calls: impl FnOnce(&mut Sandbox) -> Result<T, Box<dyn Error>>,
) -> Result<T, Box<dyn Error>> {
    let (stub, end) = UnixStream::pair()?;
    let client = thread::spawn(move || {
        let mut connected = Client::new(end)?;
        connected.ask("qSupported:swbreak+;hwbreak+")?;
        client(connected)
    });
    sandbox.attach_debugger(stub)?;
    let result = calls(sandbox);
    if result.is_err() {
        // Otherwise the client would wait.
        sandbox.detach_debugger()?;
    }
    let client = joined(client).map_err(|error| error.to_string());
    match client {
        Ok(Ok(())) => result,
        Ok(Err(error)) => Err(format!("client: {error}; calls: {:?}", result.err()).into()),
        Err(error) => Err(error.into()),
    }
}

fn sum(sandbox: &mut Sandbox) -> Result<u64, Box<dyn Error>> {
    Ok(sandbox.call("debug_sum", (3u64,))?)
}

fn breakpoints() -> TestResult {
    let mut sandbox = builder().build()?;
    let addresses = Addresses::of(&mut sandbox)?;
    let outbox: u64 = sandbox.call("outbox", ())?;
    let result = debug(
        &mut sandbox,
        move |mut client| {
            client.expect(&addresses.breakpoint("Z0"), "OK")?;
            let mut sum = 0;
            for number in 1..4 {
                client.expect("c", "T05")?;
                same("stop", &registers(&mut client)?, &(number, addresses.add))?;
                same("sum", &word(&mut client, addresses.total)?, &sum)?;
                sum += number;
                addresses.leave(&mut client)?;
                let (_, pc) = registers(&mut client)?;
                same("a step", &(addresses.add < pc && pc < addresses.add + 16), &true)?;
            }
            // Neither pages of the host, nor the window, nor page tables.
            for address in [layout::BOOT_INFO, layout::INBOX, outbox] {
                client.expect(&format!("M{address:x},1:00"), "E")?;
            }
            client.expect(&format!("m{:x},4", layout::BOOT_INFO), &client_magic())?;
            // No breakpoint in data, of which snapshots have copies.
            client.expect(&format!("Z0,{:x},{BREAKPOINT_LEN}", addresses.total), "E")?;
            client.expect("D", "OK")
        },
        sum,
    )?;
    expect("sum", &result, &6)?;
    expect("debugged", &sandbox.is_debugged(), &false)?;
    expect("sum without a debugger", &sum(&mut sandbox)?, &6)
}

/// The first bytes of the boot information.
fn client_magic() -> String {
    let magic = sandbox_abi::BootInfo::MAGIC;
    magic.to_le_bytes()[..4]
        .iter()
        .fold(String::new(), |text, byte| format!("{text}{byte:02x}"))
}

fn watchpoints() -> TestResult {
    let mut sandbox = builder().build()?;
    let addresses = Addresses::of(&mut sandbox)?;
    let result = debug(
        &mut sandbox,
        move |mut client| {
            let [add, remove] = ["Z2", "z2"].map(|kind| format!("{kind},{:x},8", addresses.total));
            if cfg!(target_arch = "riscv64") {
                client.expect(&add, "E")?;
                return client.expect("D", "OK");
            }
            client.expect(&addresses.breakpoint("Z0"), "OK")?;
            client.expect("c", "T05")?;
            client.expect(&addresses.breakpoint("z0"), "OK")?;
            client.expect(&add, "OK")?;
            let stop = client.ask("c")?;
            same("a watchpoint", &stop.contains("watch:"), &true)?;
            let (_, pc) = registers(&mut client)?;
            same(
                "in the function",
                &(addresses.add..addresses.add + 64).contains(&pc),
                &true,
            )?;
            client.expect(&remove, "OK")?;
            // The stop is before the write on arm64.
            client.expect("s", "S05")?;
            same("sum", &word(&mut client, addresses.total)?, &1)?;
            client.expect(&format!("Z1,{:x},{BREAKPOINT_LEN}", addresses.add), "OK")?;
            let stop = client.ask("c")?;
            same("a breakpoint", &stop.contains("hwbreak"), &true)?;
            same("stop", &registers(&mut client)?, &(2, addresses.add))?;
            client.expect("D", "OK")
        },
        sum,
    )?;
    expect("sum", &result, &6)
}

fn ctrl_c() -> TestResult {
    let mut sandbox = builder().build()?;
    let snapshot = sandbox.snapshot()?;
    for _ in 0..2 {
        let error = debug(
            &mut sandbox,
            |mut client| {
                for _ in 0..3 {
                    client.send("c")?;
                    thread::sleep(Duration::from_millis(50));
                    client.interrupt()?;
                    same("signal", &client.receive()?.as_str(), &"S02")?;
                    let (_, pc) = registers(&mut client)?;
                    same("code", &(layout::IMAGE..layout::IMAGE_END).contains(&pc), &true)?;
                }
                client.send("k")
            },
            |sandbox| Ok(sandbox.call::<_, ()>("spin", ()).err()),
        )?;
        expect("killed", &matches!(error, Some(CallError::Interrupted)), &true)?;
        expect("status", &sandbox.status(), &Status::Poisoned(Cause::Interrupted))?;
        expect("debugged", &sandbox.is_debugged(), &false)?;
        let (stub, _client) = UnixStream::pair()?;
        let refused = sandbox.attach_debugger(stub).err();
        expect(
            "poisoned",
            &matches!(refused, Some(DebugError::NotReady(_))),
            &true,
        )?;
        sandbox.restore(&snapshot)?;
        expect("sum", &sum(&mut sandbox)?, &6)?;
    }
    Ok(())
}

/// A debugger that goes at a breakpoint, and between two calls.
fn lost() -> TestResult {
    let mut sandbox = builder().build()?;
    let addresses = Addresses::of(&mut sandbox)?;
    for is_stopped in [true, false] {
        let result = debug(
            &mut sandbox,
            move |mut client| {
                client.expect(&addresses.breakpoint("Z0"), "OK")?;
                if is_stopped {
                    client.expect("c", "T05")
                } else {
                    client.send("c")
                }
            },
            |sandbox| {
                if !is_stopped {
                    thread::sleep(Duration::from_millis(100));
                }
                sum(sandbox)
            },
        )?;
        expect("sum", &result, &6)?;
        expect("debugged", &sandbox.is_debugged(), &false)?;
        expect("sum without a debugger", &sum(&mut sandbox)?, &6)?;
    }
    Ok(())
}

fn snapshots() -> TestResult {
    let mut sandbox = builder().build()?;
    let addresses = Addresses::of(&mut sandbox)?;
    let before = sandbox.snapshot()?;
    let result = debug(
        &mut sandbox,
        move |mut client| {
            client.expect(&addresses.breakpoint("Z0"), "OK")?;
            client.expect(&format!("M{:x},1:07", addresses.verdict), "OK")?;
            client.expect("c", "T05")?;
            same("stop", &registers(&mut client)?, &(1, addresses.add))?;
            client.expect("D", "OK")
        },
        |sandbox| {
            let snapshot = sandbox.snapshot()?;
            // Both would not return from a breakpoint, which has no debugger there.
            let mut copy = with_functions(SandboxBuilder::from_snapshot(&snapshot)).build()?;
            let mut other = builder().build()?;
            for copy in [&mut copy, &mut other] {
                expect("sum", &sum(copy)?, &6)?;
            }
            expect("data", &copy.call::<_, u64>("debug_verdict", ())?, &7)?;
            sandbox.restore(&before)?;
            expect("old data", &sandbox.call::<_, u64>("debug_verdict", ())?, &0)?;
            sandbox.restore(&snapshot)?;
            expect("new data", &sandbox.call::<_, u64>("debug_verdict", ())?, &7)?;
            // The breakpoint is still there.
            sum(sandbox)
        },
    )?;
    expect("sum", &result, &6)
}

/// The guest copies the pages that it writes: the debugger reads and writes what the guest sees at an address, in a copy or below it.
fn guest_copies() -> TestResult {
    let mut sandbox = builder().copy_on_write(CopyOnWrite::Guest).build()?;
    let addresses = Addresses::of(&mut sandbox)?;
    let before = sandbox.snapshot()?;
    let result = debug(
        &mut sandbox,
        move |mut client| {
            client.expect(&addresses.breakpoint("Z0"), "OK")?;
            let mut sum = 0;
            for number in 1..4 {
                client.expect("c", "T05")?;
                same("stop", &registers(&mut client)?, &(number, addresses.add))?;
                // The guest has a copy of this page: it wrote the sum.
                same("sum", &word(&mut client, addresses.total)?, &sum)?;
                sum += number;
                addresses.leave(&mut client)?;
            }
            client.expect(&format!("M{:x},1:2a", addresses.verdict), "OK")?;
            same("verdict", &word(&mut client, addresses.verdict)?, &42)?;
            client.expect("D", "OK")
        },
        |sandbox| {
            let result = sum(sandbox)?;
            expect("verdict", &sandbox.call::<_, u64>("debug_verdict", ())?, &42)?;
            let snapshot = sandbox.snapshot()?;
            sandbox.restore(&before)?;
            expect("old verdict", &sandbox.call::<_, u64>("debug_verdict", ())?, &0)?;
            sandbox.restore(&snapshot)?;
            expect("new verdict", &sandbox.call::<_, u64>("debug_verdict", ())?, &42)?;
            Ok(result)
        },
    )?;
    expect("sum", &result, &6)?;
    // No breakpoint is left in the code of others.
    expect("another sandbox", &sum(&mut builder().build()?)?, &6)
}

fn deadlines() -> TestResult {
    const LIMIT: Duration = Duration::from_millis(500);
    let mut sandbox = builder().build()?;
    let addresses = Addresses::of(&mut sandbox)?;
    let options = CallOptions::default().with_deadline(LIMIT);
    let result = debug(
        &mut sandbox,
        move |mut client| {
            client.expect(&addresses.breakpoint("Z0"), "OK")?;
            client.expect("c", "T05")?;
            thread::sleep(2 * LIMIT);
            client.expect(&addresses.breakpoint("z0"), "OK")?;
            // Back to the deadline, in the next call.
            client.send("c")?;
            let _end = client.receive();
            Ok(())
        },
        |sandbox| {
            let function = sandbox.function::<(u64,), u64>("debug_sum")?;
            let result = sandbox.invoke(&function, &(3,), options)?;
            let function = sandbox.function::<(), ()>("spin")?;
            let error = sandbox.invoke(&function, &(), options).err();
            expect(
                "deadline",
                &matches!(error, Some(CallError::Deadline { .. })),
                &true,
            )?;
            sandbox.detach_debugger()?;
            Ok(result)
        },
    )?;
    expect("sum", &result, &6)
}

/// gdb sees the registers of the panic, not those of the code that reports it.
fn panic() -> TestResult {
    let mut sandbox = builder().build()?;
    let (to, pc) = mpsc::channel();
    let crash = debug(
        &mut sandbox,
        move |mut client| {
            client.expect("c", "S06")?;
            to.send(registers(&mut client)?.1)?;
            client.expect("G00", "E")?;
            client.expect("D", "OK")
        },
        |sandbox| crash(sandbox.call::<_, ()>("panic", ("the reason",))),
    )?;
    expect("message", &crash.message.as_str(), &"the reason")?;
    expect("pc", &pc.recv()?, &crash.registers.pc)
}

fn detach() -> TestResult {
    let mut sandbox = builder().build()?;
    let addresses = Addresses::of(&mut sandbox)?;
    let result = debug(
        &mut sandbox,
        move |mut client| {
            client.expect(&addresses.breakpoint("Z0"), "OK")?;
            client.send("c")?;
            same("an end", &client.receive().is_err(), &true)
        },
        |sandbox| {
            let (stub, _client) = UnixStream::pair()?;
            let second = sandbox.attach_debugger(stub).err();
            expect("second", &matches!(second, Some(DebugError::Attached)), &true)?;
            sandbox.detach_debugger()?;
            sandbox.detach_debugger()?;
            sum(sandbox)
        },
    )?;
    expect("sum", &result, &6)
}

/// A debugger reads mappings by the guest's page tables. Pages that a file no longer has are not there.
fn mappings() -> TestResult {
    let region = SharedRegion::new(4096)?;
    region.store_u64(8, 0x1122_3344)?;
    let file = crate::tests::file(&[7; 8192])?;
    let mut sandbox = builder().build()?;
    let mapped = sandbox.map_file(&file, FileOptions::copy_on_write())?;
    let shared = sandbox.map_region(&region, RegionAccess::ReadWrite)?;
    file.set_len(4096)?;
    debug(
        &mut sandbox,
        move |mut client| {
            same("number", &word(&mut client, shared.address() + 8)?, &0x1122_3344)?;
            let expected = u64::from_le_bytes([7; 8]);
            same("file", &word(&mut client, mapped.address() + 4088)?, &expected)?;
            client.expect(&format!("m{:x},8", mapped.address() + 4096), "E")?;
            client.expect(&format!("M{:x},1:00", shared.address()), "E")?;
            client.expect("D", "OK")
        },
        |sandbox| Ok(sandbox.call::<_, ()>("nop", ())?),
    )
}
