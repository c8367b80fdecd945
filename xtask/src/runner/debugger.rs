//! gdb on this machine, for the test that debugs a sandbox in the lab.
//!
//! Two more virtio-serial ports of L1 lead here: one to a socket, to which gdb connects, and one to a file, to which the test writes a core
//! dump. gdb executes the script of the test, and tells the guest of the sandbox whether all was as expected; the test asks the guest.

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use tempfile::TempDir;

use super::job::Job;
use crate::arch::{ArchRow, LabMachine};
use crate::error::{Error, WithPath as _};
use crate::packages::{self, Package};
use crate::process::Running;
use crate::progress::print_status;
use crate::workspace::Workspace;

/// Name of the test program.
const TEST: &str = "kvm_sandbox";

/// The scripts of the test, and the one that is executed.
const SCRIPTS: &str = "crates/sandbox/tests/kvm_sandbox/gdb";
const SCRIPT: &str = "session.gdb";

/// The program that is debugged, below the guests of an architecture.
const PROGRAM: &str = "sandbox-tests.elf";

const GDB: &str = "gdb-multiarch";

/// The ports: the environment variable of the test, the number, the name of the chardev, its kind and options, and the file.
const PORTS: [(&str, u8, &str, &str, &str); 2] = [
    ("VMBOOT_GDB_PORT", 2, "gdb", "socket,server=on,wait=off", "gdb"),
    ("VMBOOT_CORE_PORT", 3, "core", "file", "core"),
];

/// A gdb that can be started.
#[derive(Debug)]
pub(super) struct Debugger {
    /// With the socket, the core dump, the program and the scripts. Its path is short, as that of a socket has to be.
    folder: TempDir,
    log: PathBuf,
    has_watchpoints: bool,
}

impl Debugger {
    /// The debugger for `job`, if it has the test. Without gdb, the test is skipped.
    pub(super) fn of(
        workspace: &Workspace,
        row: &ArchRow,
        machine: &LabMachine,
        job: &Job,
    ) -> Result<Option<Self>, Error> {
        let has_test = job.tasks.iter().any(|task| {
            let name = task.executable.file_name().unwrap_or_default();
            name.to_string_lossy().starts_with(TEST)
        });
        let Some(fixtures) = job.fixtures.as_ref().filter(|_| has_test) else {
            return Ok(None);
        };
        if let Err(error) = packages::ensure(workspace, &[Package::program(GDB, GDB)]) {
            print_status(&format!("going on without gdb: {error}"));
            return Ok(None);
        }
        let folder = tempfile::tempdir().with_path(&std::env::temp_dir())?;
        let program = fixtures.join("guests").join(row.name).join(PROGRAM);
        let program = fs::canonicalize(&program).with_path(&program)?;
        symlink(&program, folder.path().join("guest.elf")).with_path(folder.path())?;
        let scripts = workspace.root().join(SCRIPTS);
        for script in fs::read_dir(&scripts).with_path(&scripts)? {
            let script = script.with_path(&scripts)?;
            symlink(script.path(), folder.path().join(script.file_name())).with_path(folder.path())?;
        }
        Ok(Some(Self {
            folder,
            log: workspace.log(&format!("gdb-{}{}", row.name, machine.variant))?,
            // KVM of riscv64 has none, and QEMU's emulation of SVM does not arm them.
            has_watchpoints: row.name == "aarch64",
        }))
    }

    /// Environment variables of the programs in L1.
    pub(super) fn environment() -> impl Iterator<Item = (String, String)> {
        PORTS
            .into_iter()
            .map(|(variable, number, ..)| (variable.to_owned(), format!("/dev/vport0p{number}")))
    }

    /// Options of QEMU.
    pub(super) fn qemu_args(&self) -> Vec<String> {
        let ports = PORTS.into_iter().flat_map(|(_, number, id, kind, file)| {
            let path = self.folder.path().join(file);
            [
                "-chardev".to_owned(),
                format!("{kind},id={id},path={}", path.display()),
                "-device".to_owned(),
                format!("virtserialport,chardev={id},nr={number}"),
            ]
        });
        ports.collect()
    }

    /// Starts gdb. QEMU is running.
    pub(super) fn start(&self) -> Result<Running, Error> {
        let output = File::create(&self.log).with_path(&self.log)?;
        let errors = output.try_clone().with_path(&self.log)?;
        let mut command = Command::new(GDB);
        command
            .args(["-nx", "-batch", "-ex", "set $has_core = 1", "-ex"])
            .arg(format!(
                "set $has_watchpoints = {}",
                u8::from(self.has_watchpoints)
            ))
            .args(["-x", SCRIPT])
            .current_dir(self.folder.path())
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(errors);
        Running::start(&mut command)
    }
}
