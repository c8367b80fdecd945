//! gdb itself on a running sandbox and on a core dump.
//!
//! gdb runs on the host of the test program, or, in the lab of `cargo xtask test`, on the machine that emulates it: two ports of the machine
//! lead there.

use std::env::{self, consts::ARCH};
use std::error::Error;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use hv_kvm_test::{expect, fixture, gdb, has_virtualisation, no_hardware_breakpoints, with_deadline};
use sandbox::{CoreLimits, Sandbox};

use crate::guest::{self, Test, TestResult, builder, crash};

pub(crate) const TESTS: &[Test] = &[("sandbox::debug::gdb_on_a_sandbox_and_on_a_core_dump", session)];

/// The environment variables with the paths of the two ports: that of gdb, and one that writes to the file of the core dump.
const GDB_PORT: &str = "VMBOOT_GDB_PORT";
const CORE_PORT: &str = "VMBOOT_CORE_PORT";

/// What gdb does.
const SCRIPTS: [(&str, &str); 2] = [
    ("session.gdb", include_str!("gdb/session.gdb")),
    ("core.gdb", include_str!("gdb/core.gdb")),
];

/// What gdb writes to the guest when it has found all that it expects.
const VERDICT: u64 = 42;

/// An error of another thread.
type ThreadError = Box<dyn Error + Send + Sync>;

/// Reason why gdb cannot run.
pub(crate) fn skip_reason() -> Option<String> {
    if env::var_os(GDB_PORT).is_some() {
        return None;
    }
    gdb::skip_reason()
}

fn session() -> TestResult {
    let run = || match env::var(GDB_PORT) {
        Ok(port) => in_lab(&port).map_err(|error| error.to_string()),
        Err(_) => on_this_host().map_err(|error| error.to_string()),
    };
    // A gdb that does not answer must not stop the tests.
    Ok(with_deadline(Duration::from_mins(5), run)??)
}

/// Whether the guest can have exceptions: a KVM of x86_64 without hardware virtualisation does not deliver them.
fn has_exceptions() -> bool {
    ARCH != "x86_64" || has_virtualisation()
}

/// Writes the core dump of a guest that wrote to an address without memory.
fn core_dump(to: &mut dyn Write) -> TestResult {
    let mut sandbox = builder().build()?;
    let crash = crash(sandbox.call::<_, ()>("debug_fault", (8u64,)))?;
    let summary = sandbox.core_dump(&crash, CoreLimits::default(), to)?;
    expect("incomplete", &summary.is_incomplete, &false)
}

/// Lets gdb debug a call.
fn call(sandbox: &mut Sandbox, stream: UnixStream) -> TestResult {
    sandbox.attach_debugger(stream)?;
    let sum: u64 = sandbox.call("debug_sum", (3u64,))?;
    expect("sum", &sum, &6)?;
    let verdict: u64 = sandbox.call("debug_verdict", ())?;
    expect("verdict of gdb", &verdict, &VERDICT)?;
    expect("debugged", &sandbox.is_debugged(), &false)
}

fn on_this_host() -> TestResult {
    let folder = env::temp_dir().join(format!("vmboot-gdb-{}", std::process::id()));
    fs::create_dir_all(&folder)?;
    let result = in_folder(&folder);
    fs::remove_dir_all(&folder)?;
    result
}

fn in_folder(folder: &Path) -> TestResult {
    let program = fixture(&guest::program("sandbox-tests"));
    std::os::unix::fs::symlink(program.canonicalize()?, folder.join("guest.elf"))?;
    for (name, script) in SCRIPTS {
        fs::write(folder.join(name), script)?;
    }
    if has_exceptions() {
        core_dump(&mut File::create(folder.join("core"))?)?;
    }
    let mut sandbox = builder().build()?;
    let listener = UnixListener::bind(folder.join("gdb"))?;
    let mut command = gdb::command(&[
        format!("set $has_core = {}", u8::from(has_exceptions())),
        format!(
            "set $has_watchpoints = {}",
            u8::from(no_hardware_breakpoints().is_none() && ARCH != "riscv64")
        ),
        "source session.gdb".into(),
    ]);
    command.current_dir(folder);
    let gdb = thread::spawn(move || gdb::run(command));
    let (stream, _) = listener.accept()?;
    let called = call(&mut sandbox, stream);
    // gdb ends with its connection.
    drop(sandbox);
    let output = gdb.join().ok().ok_or("gdb's thread panicked")?;
    let output = output.map_err(|error| error.to_string())?;
    called.map_err(|error| format!("{error}; output of gdb:\n{output}").into())
}

fn in_lab(port: &str) -> TestResult {
    core_dump(&mut File::options().write(true).open(env::var(CORE_PORT)?)?)?;
    let port = File::options().read(true).write(true).open(port)?;
    let mut sandbox = builder().build()?;
    let (stub, end) = UnixStream::pair()?;
    let (to, first) = mpsc::channel();
    let [mut from_port, mut to_port] = [port.try_clone()?, port];
    let [mut from_stub, mut to_stub] = [end.try_clone()?, end];
    thread::spawn(move || -> Result<(), ThreadError> {
        let mut buffer = [0; 0x1000];
        let mut is_connected = false;
        loop {
            match from_port.read(&mut buffer)? {
                0 if is_connected => return Ok(to_stub.shutdown(Shutdown::Both)?),
                0 => thread::sleep(Duration::from_millis(10)),
                len => {
                    is_connected = true;
                    let _is_received = to.send(());
                    to_stub.write_all(&buffer[..len])?;
                }
            }
        }
    });
    thread::spawn(move || io::copy(&mut from_stub, &mut to_port));
    match first.recv_timeout(Duration::from_mins(1)) {
        Ok(()) => call(&mut sandbox, stub),
        Err(RecvTimeoutError::Timeout) => Err("gdb does not connect".into()),
        Err(RecvTimeoutError::Disconnected) => Err("the port of gdb cannot be read".into()),
    }
}
