//! The tests.

use std::{
    fs::File,
    io::Read,
    net::TcpListener,
    os::unix::{fs::FileExt, net::UnixStream},
    thread,
};

use guest_ram::Memfd;
use hv_core::{GuestRegisters, RegisterAccess, Vcpu};
use hv_kvm_test::{
    CheckResult,
    gdb::{self, Test},
    gdb_client::{self as client, Client},
};
use sandbox_debug::{CoreDump, DebugTarget, GdbSession, Resume, Stop, TargetError, backtrace};

use crate::{
    layout::{CODE, DATA, STACK},
    machine::{
        self, ARCH, BREAKPOINT_LEN, CALLER, COUNTER, COUNTER_NAME, INC, INSTRUCTION, Machine, NEXT, PC, POP,
        RETURN, STORE,
    },
};

pub(crate) const TESTS: &[Test] = &[
    ("debug::breakpoints_and_steps", breakpoints),
    ("debug::registers", registers_of_vcpu),
    ("debug::ctrl_c", ctrl_c),
    ("debug::stack_trace", stack_trace),
];

/// Tests with breakpoints of the hardware, which some hosts lack.
pub(crate) const HARDWARE_TESTS: &[Test] = &[("debug::watchpoints", watchpoints)];

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
    let mut session = GdbSession::new(stub, ARCH, machine.vcpu.kicker())?;
    let end = machine.debug(&mut session);
    drop(session);
    client::joined(client)?.and(end)
}

/// The counter and the instruction address.
fn registers(client: &mut Client) -> Result<(u64, u64), TargetError> {
    let block = client.ask("g")?;
    let word = |at: usize| {
        let hex = block.get(at * 16..at * 16 + 16).ok_or("short block")?;
        Ok::<_, TargetError>(u64::from_str_radix(hex, 16)?.swap_bytes())
    };
    Ok((word(COUNTER)?, word(PC)?))
}

fn check(client: &mut Client, expected: (u64, u64)) -> Result<(), TargetError> {
    let found = registers(client)?;
    if found == expected {
        Ok(())
    } else {
        Err(format!("found {found:x?}, expected {expected:x?}").into())
    }
}

/// The packet of gdb about a software breakpoint: `Z0` adds, `z0` removes it.
fn breakpoint(kind: &str, address: u64) -> String {
    format!("{kind},{address:x},{BREAKPOINT_LEN}")
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
        let at = usize::try_from(POP - CODE)?;
        let code = format!("{:04x}", u16::from_be_bytes([before[at], before[at + 1]]));
        let mut machine = Machine::new(&image)?;
        let end = client(&mut machine, move |mut client| {
            client.expect(&breakpoint("Z0", INC), "OK")?;
            client.expect("c", "T05")?;
            check(&mut client, (0, INC))?;
            client.expect(&breakpoint("z0", INC), "OK")?;
            client.expect("s", "S05")?;
            check(&mut client, (1, STORE))?;
            client.expect("s", "S05")?;
            check(&mut client, (1, NEXT))?;
            client.expect(&breakpoint("Z0", POP), "OK")?;
            for round in 1..4 {
                // Over the doorbell.
                client.expect("c", "T05")?;
                check(&mut client, (round, POP))?;
                // The guest does not see the breakpoint, and neither does the debugger.
                client.expect(&format!("m{POP:x},2"), &code)?;
                client.expect(&breakpoint("z0", POP), "OK")?;
                for _ in 0..4 {
                    client.expect("s", "S05")?;
                    if registers(&mut client)?.1 == RETURN {
                        break;
                    }
                }
                check(&mut client, (round, RETURN))?;
                client.expect(&breakpoint("Z0", POP), "OK")?;
            }
            // Memory without a mapping.
            client.expect("m1000,4", "E")?;
            client.expect(&breakpoint("Z0", CODE + 0x1000), "E")?;
            client.expect("D", "OK")
        })?;
        assert_eq!((end, machine.rings.len()), (Resume::Detached, 3));
        assert_eq!(machine.word(DATA)?, 3);
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

/// A watchpoint stops before the write on arm64 and after it on x86_64. KVM of riscv64 has none, so it is refused.
fn watchpoints() -> CheckResult {
    let run = || -> Result<(), TargetError> {
        let mut machine = Machine::new(&machine::image()?)?;
        let end = client(&mut machine, |mut client| {
            let [add, remove] = ["Z2", "z2"].map(|kind| format!("{kind},{DATA:x},4"));
            if cfg!(target_arch = "riscv64") {
                client.expect(&add, "E")?;
                client.expect(&format!("Z1,{INC:x},4"), "E")?;
                return client.expect("D", "OK");
            }
            let at = if cfg!(target_arch = "aarch64") {
                STORE
            } else {
                NEXT
            };
            for round in 1..3 {
                client.expect(&add, "OK")?;
                let stop = client.ask("c")?;
                if !stop.contains(&format!("watch:{DATA:02x}")) && !stop.contains(&format!("watch:0{DATA:x}"))
                {
                    return Err(format!("stop {stop}").into());
                }
                check(&mut client, (round, at))?;
                client.expect(&remove, "OK")?;
                client.expect("s", "S05")?;
                client.expect(&format!("m{DATA:x},4"), &format!("{round:02x}000000"))?;
            }
            client.expect(&format!("Z1,{INC:x},{BREAKPOINT_LEN}"), "OK")?;
            let stop = client.ask("c")?;
            if !stop.contains("hwbreak") {
                return Err(format!("stop {stop}").into());
            }
            check(&mut client, (2, INC))?;
            client.expect("D", "OK")
        })?;
        assert_eq!(end, Resume::Detached);
        Ok(())
    };
    run().map_err(plain)
}

/// Values that a debugger writes are those that it reads, and those with which the guest goes on.
fn registers_of_vcpu() -> CheckResult {
    let run = || -> Result<(), TargetError> {
        let mut machine = Machine::new(&machine::image()?)?;
        stop_in_function(&mut machine)?;
        let mut changed = machine.vcpu.read_registers()?;
        assert_eq!((changed.arch(), changed.pc()), (ARCH, INC));
        let found = change(&mut changed);
        assert_eq!(found, 0);
        machine.vcpu.write_registers(&changed)?;
        assert_eq!(machine.vcpu.read_registers()?, changed);
        let stop = machine.run_to_ring()?;
        assert_eq!((stop, machine.word(DATA)?), (None, 0x42));
        let mut after = machine.vcpu.read_registers()?;
        assert_eq!(change(&mut after), 0x42);
        // The floating-point registers are as they were written.
        let [after, changed] = [&after, &changed].map(floats);
        assert_eq!(after, changed);
        Ok(())
    };
    run().map_err(plain)
}

/// Sets the counter, floating-point registers and the last general registers. Returns the counter.
fn change(registers: &mut GuestRegisters) -> u64 {
    match registers {
        GuestRegisters::X86_64(registers) => {
            let mut area = registers.fxsave();
            for (n, byte) in (0..=u8::MAX).zip(&mut area[160..160 + 256]) {
                *byte = n;
            }
            registers.set_fxsave(&area);
            registers.cpu.r15 = 0x1515;
            std::mem::replace(&mut registers.cpu.rax, 0x41)
        }
        GuestRegisters::Aarch64(registers) => {
            for (n, value) in (1_u128..).zip(&mut registers.v) {
                *value = n << 100 | n;
            }
            registers.fpsr = 1;
            registers.fpcr = 1 << 22;
            registers.x[28] = 0x1c1c;
            registers.tpidr_el0 = 0x7777;
            std::mem::replace(&mut registers.x[19], 0x41)
        }
        GuestRegisters::Riscv64(registers) => {
            for (n, value) in (1_u64..).zip(&mut registers.f) {
                *value = n << 32 | n;
            }
            registers.fcsr = 0x41;
            registers.x[31] = 0x1f1f;
            // `sstatus.FS`: dirty. KVM restores no floating-point registers while it is off.
            registers.sstatus |= 3 << 13;
            std::mem::replace(&mut registers.x[9], 0x41)
        }
        _ => 0,
    }
}

fn floats(registers: &GuestRegisters) -> Vec<u8> {
    match registers {
        GuestRegisters::X86_64(registers) => registers.fxsave()[160..].to_vec(),
        GuestRegisters::Aarch64(registers) => registers.v.iter().flat_map(|v| v.to_le_bytes()).collect(),
        GuestRegisters::Riscv64(registers) => registers.f.iter().flat_map(|f| f.to_le_bytes()).collect(),
        _ => Vec::new(),
    }
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
                if !(CODE..CODE + 0x50).contains(&address) {
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
        client.expect(&breakpoint("Z0", INC), "OK")?;
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
            format!("print {COUNTER_NAME}"),
            "stepi".into(),
            format!("print {COUNTER_NAME}"),
            format!("x/1gx {:#x}", STACK - 8),
            "delete".into(),
            format!("set var {COUNTER_NAME} = 40"),
            format!("break *{INC:#x}"),
            "continue".into(),
            format!("print {COUNTER_NAME}"),
            "delete".into(),
            "detach".into(),
        ];
        let child = gdb::command(&commands);
        let output = thread::spawn(move || gdb::run(child));
        let kicker = machine.vcpu.kicker();
        let mut session = GdbSession::new(listener.accept()?.0, ARCH, kicker)?;
        let end = machine.debug(&mut session)?;
        assert_eq!(end, Resume::Detached);
        assert_eq!((machine.rings.len(), machine.word(DATA)?), (2, 40));
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
            format!("printf \"caller %#lx\\n\", {CALLER}"),
        ];
        gdb::run(gdb::command(&commands))
    };
    let output = run().map_err(plain)?;
    let expected = [
        format!("at {INC:#x}"),
        INSTRUCTION.into(),
        format!("caller {RETURN:#x}"),
    ];
    gdb::expect_lines(&output, &expected)
}
