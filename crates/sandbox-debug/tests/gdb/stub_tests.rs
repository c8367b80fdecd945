//! gdb on the stub.

use std::{net::TcpListener, os::unix::net::UnixListener, thread};

use boot_core::Arch;
use hv_kvm_test::{
    CheckResult,
    gdb::{self, Test},
    gdb_client as client,
};
use sandbox_debug::{GdbSession, GdbStream, Resume};

use crate::fake::{self, DATA, FakeTarget};

pub(crate) const TESTS: &[Test] = &[
    ("stub::gdb_debugs_x86_64", || debugs(Arch::X86_64)),
    ("stub::gdb_debugs_arm64", || debugs(Arch::Aarch64)),
    ("stub::gdb_debugs_riscv64", || debugs(Arch::Riscv64)),
    ("stub::gdb_connects_to_a_unix_socket", unix),
];

/// Lets gdb execute these commands after its connection to `to`, and returns its output.
fn session(
    target: &mut FakeTarget,
    to: &str,
    commands: &[String],
    accept: impl FnOnce() -> std::io::Result<GdbStream>,
) -> Result<String, Box<dyn std::error::Error>> {
    let mut all = vec![format!("target remote {to}")];
    all.extend_from_slice(commands);
    let child = gdb::command(&all);
    let output = thread::spawn(move || gdb::run(child));
    let mut session = GdbSession::new(accept()?, target.registers.arch(), target.kick.clone())?;
    let end = target.debug(&mut session).map_err(|error| error.to_string())?;
    assert_eq!(end, Resume::Detached);
    let output = client::joined(output).map_err(|error| error.to_string())?;
    Ok(output.map_err(|error| error.to_string())?)
}

fn debugs(arch: Arch) -> CheckResult {
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    let to = listener.local_addr()?.to_string();
    let [first, second, third, fourth, _] = fake::addresses(arch);
    let (sp, float) = match arch {
        Arch::Aarch64 => ("$sp", "$v3"),
        Arch::Riscv64 => ("$sp", "$ft3"),
        _ => ("$rsp", "$xmm3"),
    };
    let mut commands: Vec<String> = vec![
        "printf \"at %#lx\\n\", $pc".into(),
        format!("x/1i {second:#x}"),
        format!("break *{third:#x}"),
        "continue".into(),
        "stepi".into(),
        "printf \"then %#lx\\n\", $pc".into(),
        "continue".into(),
        format!("set var {sp} = 0x5b"),
        format!("printf \"stack %#lx\\n\", {sp}"),
        "delete".into(),
        "stepi".into(),
        format!("print/x *(unsigned char *){DATA:#x}"),
        format!("set var *(unsigned int *){DATA:#x} = 0xabcd"),
        format!("print/x *(unsigned int *){DATA:#x}"),
        format!("info registers {}", float.trim_start_matches('$')),
        format!("print/x *(unsigned char *){:#x}", 0x3_0000),
    ];
    let mut expected: Vec<String> = vec![
        format!("at {first:#x}"),
        "nop".into(),
        "Breakpoint 1".into(),
        format!("then {fourth:#x}"),
        "Breakpoint 1".into(),
        "stack 0x5b".into(),
        "$1 = 0x77".into(),
        "$2 = 0xabcd".into(),
        float.trim_start_matches('$').into(),
    ];
    // Errors are on standard error, which follows after all of standard output.
    let mut errors = vec!["Cannot access memory at address 0x30000".into()];
    if arch == Arch::Riscv64 {
        commands.push(format!("hbreak *{second:#x}"));
        errors.push("Cannot insert hardware breakpoint".into());
    } else {
        commands.push(format!("watch *(unsigned char *){DATA:#x}"));
        expected.extend(["Hardware watchpoint".into(), "New value".into()]);
    }
    commands.extend(["continue".into(), "delete".into(), "detach".into()]);
    let mut target = FakeTarget::new(arch);
    let output = session(&mut target, &to, &commands, || Ok(listener.accept()?.0.into()))?;
    expected.append(&mut errors);
    gdb::expect_lines(&output, &expected)?;
    assert_eq!(target.memory[..0x10], FakeTarget::new(arch).memory[..0x10]);
    Ok(())
}

fn unix() -> CheckResult {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("gdb");
    let listener = UnixListener::bind(&path)?;
    let to = path.to_str().ok_or("path")?;
    let commands = ["printf \"at %#lx\\n\", $pc".into(), "detach".into()];
    let mut target = FakeTarget::new(Arch::X86_64);
    let output = session(&mut target, to, &commands, || Ok(listener.accept()?.0.into()))?;
    gdb::expect_lines(&output, &[format!("at {:#x}", fake::START)])
}
