//! The protocol, with a client that knows every byte.

use std::{error::Error, os::unix::net::UnixStream, thread};

use boot_core::Arch;
use hv_core::GuestRegisters;
use hv_kvm_test::{
    CheckResult,
    gdb::Test,
    gdb_client::{self as client, Client},
};
use sandbox_debug::{BreakpointInstruction, GdbSession, Resume, TargetError};

use crate::fake::{self, DATA, FakeTarget};

pub(crate) const TESTS: &[Test] = &[
    ("protocol::breakpoints_stop_and_are_hidden", breakpoints),
    ("protocol::every_instruction_is_a_step", steps),
    ("protocol::watchpoints_have_their_address", watchpoints),
    ("protocol::memory_ends_where_it_ends", memory),
    ("protocol::ctrl_c_stops_a_running_guest", interrupt),
    ("protocol::a_debugger_that_goes_leaves_nothing_behind", goes),
    ("protocol::a_crash_is_a_signal", crash),
    ("protocol::registers_are_written", registers),
    ("protocol::halts_can_be_breakpoints", halts),
];

type ClientResult = Result<(), TargetError>;

/// An error that the tests of the harness take.
fn plain(error: TargetError) -> Box<dyn Error> {
    error
}

/// Lets a client debug a guest, and returns the guest and how the session ended.
fn session(
    arch: Arch,
    client: impl FnOnce(Client) -> ClientResult + Send + 'static,
) -> Result<(FakeTarget, Resume), Box<dyn Error>> {
    let mut target = FakeTarget::new(arch);
    let end = with(&mut target, client).map_err(plain)?;
    Ok((target, end))
}

fn with(
    target: &mut FakeTarget,
    client: impl FnOnce(Client) -> ClientResult + Send + 'static,
) -> Result<Resume, TargetError> {
    let (stub, client_end) = UnixStream::pair()?;
    let client = thread::spawn(move || {
        let mut connected = Client::new(client_end)?;
        connected.ask("qSupported:swbreak+;hwbreak+")?;
        client(connected)
    });
    let kick = target.kick.clone();
    let mut session = GdbSession::new(stub, target.registers.arch(), kick)?;
    assert!(session.is_attached());
    let end = target.debug(&mut session);
    assert_eq!(
        session.is_attached(),
        !matches!(end, Ok(Resume::Detached | Resume::Killed))
    );
    drop(session);
    let client = client::joined(client)?;
    // The error of the client is the cause of others.
    client.and(end)
}

const ARCHS: [Arch; 3] = [Arch::X86_64, Arch::Aarch64, Arch::Riscv64];

/// The program counter in gdb's numbering, as the stub sends it in the block of all registers.
fn pc(arch: Arch, client: &mut Client) -> Result<u64, Box<dyn Error + Send + Sync>> {
    let block = client.ask("g")?;
    let at = match arch {
        Arch::X86_64 => 16 * 16,
        _ => 32 * 16,
    };
    let hex = block.get(at..at + 16).ok_or("short block")?;
    Ok(u64::from_str_radix(hex, 16)?.swap_bytes())
}

fn check<T: PartialEq + std::fmt::Debug>(what: &str, found: &T, expected: &T) -> ClientResult {
    if found == expected {
        Ok(())
    } else {
        Err(format!("{what}: found {found:x?}, expected {expected:x?}").into())
    }
}

fn contains(stop: &str, part: &str) -> ClientResult {
    if stop.contains(part) {
        Ok(())
    } else {
        Err(format!("{stop:?} does not contain {part:?}").into())
    }
}

fn breakpoints() -> CheckResult {
    for arch in ARCHS {
        let [first, _, third, ..] = fake::addresses(arch);
        let (target, end) = session(arch, move |mut client| {
            client.expect("?", "T05")?;
            let code = client.ask(&format!("m{first:x},10"))?;
            client.expect(&format!("Z0,{third:x},4"), "OK")?;
            for _ in 0..3 {
                // From the second time on the guest stands on the breakpoint, which a debugger steps over.
                client.expect("c", "T05")?;
                check("program counter", &pc(arch, &mut client)?, &third)?;
                check("code", &client.ask(&format!("m{first:x},10"))?, &code)?;
                client.expect(&format!("z0,{third:x},4"), "OK")?;
                client.expect("s", "S05")?;
                client.expect(&format!("Z0,{third:x},4"), "OK")?;
            }
            // A write under a breakpoint is kept, and seen once the breakpoint is gone.
            client.expect(&format!("M{third:x},1:5a"), "OK")?;
            check("byte", &client.ask(&format!("m{third:x},1"))?, &"5a".into())?;
            client.expect(&format!("z0,{third:x},4"), "OK")?;
            check("byte", &client.ask(&format!("m{third:x},1"))?, &"5a".into())?;
            client.expect("D", "OK")
        })?;
        assert_eq!(end, Resume::Detached);
        let at = usize::try_from(third - fake::START)?;
        assert_eq!(target.memory[at], 0x5a);
    }
    Ok(())
}

fn steps() -> CheckResult {
    for arch in ARCHS {
        let (target, end) = session(arch, move |mut client| {
            let addresses = fake::addresses(arch);
            for round in 0..3 {
                for (index, address) in addresses.iter().enumerate() {
                    check(&format!("{round} {index}"), &pc(arch, &mut client)?, address)?;
                    client.expect("s", "S05")?;
                }
            }
            client.send("k")
        })?;
        assert_eq!(end, Resume::Killed);
        // No breakpoint of a step is left.
        assert_eq!(target.memory[..0x20], FakeTarget::new(arch).memory[..0x20]);
    }
    Ok(())
}

fn watchpoints() -> CheckResult {
    for arch in [Arch::X86_64, Arch::Aarch64] {
        session(arch, move |mut client| {
            let [_, second, _, fourth, _] = fake::addresses(arch);
            client.expect(&format!("Z2,{DATA:x},1"), "OK")?;
            let stop = client.ask("c")?;
            contains(&stop, &format!("watch:0{DATA:x};"))?;
            check("address", &pc(arch, &mut client)?, &fourth)?;
            client.expect(&format!("Z1,{second:x},1"), "OK")?;
            // The hardware has two. None stops at reads only.
            client.expect(&format!("Z1,{fourth:x},1"), "E")?;
            client.expect(&format!("Z3,{DATA:x},1"), "E")?;
            let stop = client.ask("c")?;
            contains(&stop, "hwbreak:;")?;
            check("address", &pc(arch, &mut client)?, &second)?;
            client.expect(&format!("z2,{DATA:x},1"), "OK")?;
            client.expect(&format!("Z4,{DATA:x},1"), "OK")?;
            let stop = client.ask("c")?;
            contains(&stop, &format!("awatch:0{DATA:x};"))?;
            client.expect("D", "OK")
        })?;
    }
    session(Arch::Riscv64, |mut client| {
        client.expect(&format!("Z2,{DATA:x},1"), "E")?;
        client.expect("Z1,10000,2", "E")?;
        client.expect("D", "OK")
    })?;
    Ok(())
}

fn memory() -> CheckResult {
    let (target, _) = session(Arch::X86_64, |mut client| {
        client.expect("M1fffe,2:1234", "OK")?;
        check("end", &client.ask("m1fffe,2")?, &"1234".into())?;
        // What is there is read; nothing is an error.
        check("beyond the end", &client.ask("m1fffe,8")?, &"1234".into())?;
        client.expect("m20000,4", "E")?;
        client.expect("mffffffffffffffff,4", "E")?;
        // The first byte is on a page with memory.
        client.expect("M1ffff,2:1234", "E")?;
        client.expect("Z0,20000,1", "E")?;
        client.expect("D", "OK")
    })?;
    assert_eq!(target.memory[0xfffe..], [0x12, 0x12]);
    Ok(())
}

fn interrupt() -> CheckResult {
    for arch in ARCHS {
        let (_, end) = session(arch, move |mut client| {
            for _ in 0..3 {
                client.send("c")?;
                client.interrupt()?;
                check("signal", &client.receive()?, &"S02".into())?;
                // A step after an interrupt is one instruction.
                let before = pc(arch, &mut client)?;
                client.expect("s", "S05")?;
                let addresses = fake::addresses(arch);
                let at = addresses.iter().position(|address| *address == before);
                let next = addresses[(at.ok_or("no instruction")? + 1) % addresses.len()];
                check("step", &pc(arch, &mut client)?, &next)?;
            }
            client.expect("D", "OK")
        })?;
        assert_eq!(end, Resume::Detached);
    }
    Ok(())
}

/// The connection ends while the guest runs, and while it is stopped.
fn goes() -> CheckResult {
    for arch in ARCHS {
        for is_running in [true, false] {
            let third = fake::addresses(arch)[2];
            let (target, end) = session(arch, move |mut client| {
                client.expect(&format!("Z0,{third:x},2"), "OK")?;
                if is_running {
                    client.expect("c", "T05")?;
                    client.expect(&format!("z0,{third:x},2"), "OK")?;
                    // One that is not reached.
                    client.expect(&format!("Z0,{:x},2", DATA + 0x10), "OK")?;
                    client.send("c")?;
                }
                Ok(())
            })?;
            assert_eq!(end, Resume::Detached);
            let fresh = FakeTarget::new(arch);
            assert_eq!(target.memory[..0x20], fresh.memory[..0x20]);
            let at = usize::try_from(DATA + 0x10 - fake::START)?;
            assert_eq!(target.memory[at..at + 4], [0; 4]);
        }
    }
    Ok(())
}

fn crash() -> CheckResult {
    for arch in ARCHS {
        let mut target = FakeTarget::new(arch);
        let second = fake::addresses(arch)[1];
        let at = usize::try_from(second - fake::START)?;
        target.memory[at..at + 4].fill(0);
        let end = with(&mut target, move |mut client| {
            client.expect("c", "S04")?;
            check("address", &pc(arch, &mut client)?, &second)?;
            client.send("k")
        })
        .map_err(plain)?;
        assert_eq!(end, Resume::Killed);
    }
    Ok(())
}

fn registers() -> CheckResult {
    for arch in ARCHS {
        let third = fake::addresses(arch)[2];
        let (target, _) = session(arch, move |mut client| {
            let mut block = client.ask("g")?;
            let at = match arch {
                Arch::X86_64 => 16 * 16,
                _ => 32 * 16,
            };
            block.replace_range(at..at + 16, &format!("{:016x}", third.swap_bytes()));
            client.expect(&format!("G{block}"), "OK")?;
            check("block", &client.ask("g")?, &block)?;
            check("address", &pc(arch, &mut client)?, &third)?;
            client.expect("D", "OK")
        })?;
        let mut expected = FakeTarget::new(arch).registers;
        match &mut expected {
            GuestRegisters::X86_64(registers) => registers.cpu.rip = third,
            GuestRegisters::Aarch64(registers) => registers.pc = third,
            GuestRegisters::Riscv64(registers) => registers.pc = third,
            other => return Err(format!("{other:?}").into()),
        }
        assert_eq!(target.registers, expected);
    }
    Ok(())
}

fn halts() -> CheckResult {
    let [first, _, third, fourth, _] = fake::addresses(Arch::X86_64);
    let mut target = FakeTarget::new(Arch::X86_64);
    target.instruction = BreakpointInstruction::Halt;
    // The fourth instruction is a HLT of the guest.
    target.memory[usize::try_from(fourth - first)?] = 0xf4;
    let before = target.memory.clone();
    let end = with(&mut target, move |mut client| {
        client.expect(&format!("Z0,{third:x},1"), "OK")?;
        contains(&client.ask("c")?, "swbreak:;")?;
        check("address", &pc(Arch::X86_64, &mut client)?, &third)?;
        client.expect(&format!("z0,{third:x},1"), "OK")?;
        // Not reported: it ends the run, and the connection.
        match client.ask("c") {
            Ok(stop) => Err(format!("a stop: {stop}").into()),
            Err(_) => Ok(()),
        }
    })
    .map_err(plain)?;
    assert_eq!(end, Resume::OwnHalt);
    assert_eq!(target.registers.pc(), fourth + 1);
    target.memory[usize::try_from(DATA - fake::START)?] = 0;
    assert_eq!(target.memory, before);
    Ok(())
}
