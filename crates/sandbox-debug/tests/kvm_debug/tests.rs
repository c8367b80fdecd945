//! The tests.

use std::{
    fs::File,
    io::Read,
    net::TcpListener,
    os::unix::{fs::FileExt, net::UnixStream},
    thread,
};

use boot_core::Arch;
use guest_ram::Memfd;
use hv_core::Vcpu;
use hv_kvm_test::CheckResult;
use sandbox_debug::{CoreDump, DebugTarget, GdbSession, Resume, Stop, TargetError, backtrace};

use crate::{
    client::{self, Client},
    gdb::{self, Test},
    machine::{self, CODE, INC, Machine, OUT, POP, RETURN, STACK},
};

pub(crate) const TESTS: &[Test] = &[
    ("debug::breakpoints_and_steps", breakpoints),
    ("debug::ctrl_c", ctrl_c),
    ("debug::stack_trace", stack_trace),
];

pub(crate) const GDB_TESTS: &[Test] = &[
    ("debug::gdb_session", session),
    ("debug::gdb_on_a_core_dump", core_dump),
];

/// An error that the tests of the harness take.
fn plain(error: TargetError) -> Box<dyn std::error::Error> {
    error
}

fn client(
    machine: &mut Machine,
    client: impl FnOnce(Client) -> Result<(), TargetError> + Send + 'static,
) -> Result<Resume, TargetError> {
    let (stub, client_end) = UnixStream::pair()?;
    let client = thread::spawn(move || {
        let mut connected = Client::new(client_end)?;
        connected.ask("qSupported:swbreak+;hwbreak+")?;
        client(connected)
    });
    let mut session = GdbSession::new(stub, Arch::X86_64, machine.vcpu.kicker())?;
    let end = machine.debug(&mut session);
    drop(session);
    client::joined(client)?.and(end)
}

/// `RAX` and `RIP`.
fn registers(client: &mut Client) -> Result<(u64, u64), TargetError> {
    let block = client.ask("g")?;
    let word = |at: usize| {
        let hex = block.get(at * 16..at * 16 + 16).ok_or("short block")?;
        Ok::<_, TargetError>(u64::from_str_radix(hex, 16)?.swap_bytes())
    };
    Ok((word(0)?, word(16)?))
}

fn check(client: &mut Client, expected: (u64, u64)) -> Result<(), TargetError> {
    let found = registers(client)?;
    if found == expected {
        Ok(())
    } else {
        Err(format!("found {found:x?}, expected {expected:x?}").into())
    }
}

fn contents(image: &Memfd) -> Result<Vec<u8>, TargetError> {
    let mut bytes = vec![0; image.len()];
    image.file().read_exact_at(&mut bytes, 0)?;
    Ok(bytes)
}

fn breakpoints() -> CheckResult {
    let run = || -> Result<(), TargetError> {
        let image = machine::image()?;
        let before = contents(&image)?;
        let mut machine = Machine::new(&image)?;
        let end = client(&mut machine, |mut client| {
            client.expect(&format!("Z0,{INC:x},1"), "OK")?;
            client.expect("c", "T05")?;
            check(&mut client, (0, INC))?;
            client.expect(&format!("z0,{INC:x},1"), "OK")?;
            client.expect("s", "S05")?;
            check(&mut client, (1, OUT))?;
            client.expect(&format!("Z0,{POP:x},1"), "OK")?;
            for round in 1..4 {
                // Over the doorbell.
                client.expect("c", "T05")?;
                check(&mut client, (round, POP))?;
                // The guest does not see the breakpoint, and neither does the debugger.
                client.expect(&format!("m{POP:x},2"), "5dc3")?;
                client.expect(&format!("z0,{POP:x},1"), "OK")?;
                client.expect("s", "S05")?;
                check(&mut client, (round, POP + 1))?;
                client.expect("s", "S05")?;
                check(&mut client, (round, RETURN))?;
                client.expect(&format!("Z0,{POP:x},1"), "OK")?;
            }
            // Memory without a mapping.
            client.expect("m1000,4", "E")?;
            client.expect(&format!("Z0,{:x},1", CODE + 0x1000), "E")?;
            client.expect("D", "OK")
        })?;
        assert_eq!((end, &*machine.rings), (Resume::Detached, &[1, 2, 3][..]));
        // The image of other machines is as before, and the guest runs on.
        assert_eq!(contents(&image)?, before);
        let mut other = Machine::new(&image)?;
        for machine in [&mut machine, &mut other] {
            let count = machine.rings.len();
            machine.vcpu.kicker().kick();
            assert_eq!(machine.run()?, Stop::Interrupted);
            assert_eq!(machine.rings.len(), count);
        }
        Ok(())
    };
    run().map_err(plain)
}

fn ctrl_c() -> CheckResult {
    let run = || -> Result<(), TargetError> {
        let image = machine::image()?;
        let mut machine = Machine::new(&image)?;
        let end = client(&mut machine, |mut client| {
            for _ in 0..3 {
                client.send("c")?;
                client.interrupt()?;
                let stop = client.receive()?;
                if stop != "S02" {
                    return Err(format!("stop {stop}").into());
                }
                let (_, address) = registers(&mut client)?;
                if !(CODE..CODE + 0x20).contains(&address) {
                    return Err(format!("address {address:#x}").into());
                }
            }
            client.send("k")
        })?;
        assert_eq!(end, Resume::Killed);
        Ok(())
    };
    run().map_err(plain)
}

/// Stops the machine in the function by a debugger that goes.
fn stop_in_function(machine: &mut Machine) -> Result<(), TargetError> {
    let end = client(machine, |mut client| {
        client.expect(&format!("Z0,{INC:x},1"), "OK")?;
        client.expect("c", "T05")?;
        client.send("k")
    })?;
    assert_eq!(end, Resume::Killed);
    Ok(())
}

fn stack_trace() -> CheckResult {
    let run = || -> Result<(), TargetError> {
        let mut machine = Machine::new(&machine::image()?)?;
        stop_in_function(&mut machine)?;
        let registers = machine.read_registers()?;
        let frames = backtrace(&registers, &machine);
        let addresses: Vec<_> = frames.iter().map(|frame| frame.address).collect();
        assert_eq!(addresses, [INC, RETURN]);
        Ok(())
    };
    run().map_err(plain)
}

fn session() -> CheckResult {
    let run = || -> Result<String, TargetError> {
        let mut machine = Machine::new(&machine::image()?)?;
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let commands = [
            format!("target remote {}", listener.local_addr()?),
            format!("break *{INC:#x}"),
            "continue".into(),
            "continue".into(),
            "print $eax".into(),
            "stepi".into(),
            "print $eax".into(),
            format!("x/1gx {:#x}", STACK - 8),
            "delete".into(),
            "set var $eax = 40".into(),
            format!("break *{INC:#x}"),
            "continue".into(),
            "print $eax".into(),
            "delete".into(),
            "detach".into(),
        ];
        let child = gdb::command(&commands);
        let output = thread::spawn(move || gdb::run(child));
        let kicker = machine.vcpu.kicker();
        let mut session = GdbSession::new(listener.accept()?.0, Arch::X86_64, kicker)?;
        let end = machine.debug(&mut session)?;
        assert_eq!(end, Resume::Detached);
        assert_eq!(machine.rings, [1, 40]);
        client::joined(output)?
    };
    let output = run().map_err(plain)?;
    let expected = [
        "Breakpoint 1".into(),
        "Breakpoint 1".into(),
        "$1 = 1".into(),
        "$2 = 2".into(),
        format!("{RETURN:#018x}"),
        "Breakpoint 2".into(),
        "$3 = 40".into(),
    ];
    gdb::expect_lines(&output, &expected)
}

fn core_dump() -> CheckResult {
    let run = || -> Result<String, TargetError> {
        let mut machine = Machine::new(&machine::image()?)?;
        stop_in_function(&mut machine)?;
        let registers = machine.read_registers()?;
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("core");
        let summary = CoreDump::new(&registers, &machine).write(&mut File::create(&path)?)?;
        assert!(!summary.is_incomplete);
        let mut magic = [0; 4];
        File::open(&path)?.read_exact(&mut magic)?;
        assert_eq!(&magic, b"\x7fELF");
        let commands = [
            format!("core-file {}", path.display()),
            "printf \"at %#lx\\n\", $pc".into(),
            "x/1i $pc".into(),
            "printf \"caller %#lx\\n\", *(unsigned long *)($rbp + 8)".into(),
        ];
        gdb::run(gdb::command(&commands))
    };
    let output = run().map_err(plain)?;
    let expected = [
        format!("at {INC:#x}"),
        "inc".into(),
        format!("caller {RETURN:#x}"),
    ];
    gdb::expect_lines(&output, &expected)
}
