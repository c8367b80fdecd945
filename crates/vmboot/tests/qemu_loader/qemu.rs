//! QEMU, stopped before the first instruction of the guest.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use boot_core::{BootFile, BootPlan, LoadContent};
use libtest_mimic::Failed;
use tempfile::TempDir;

use crate::gdb::Gdb;
use crate::input::{CMDLINE, INITRD, RAM};

/// Whether a program exists.
pub(crate) fn is_installed(program: &str) -> bool {
    let version = Command::new(program)
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    version.is_ok_and(|status| status.success())
}

/// A running QEMU.
pub(crate) struct Qemu {
    child: Child,
    gdb: Gdb,
    dir: TempDir,
}

impl Drop for Qemu {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Qemu {
    /// Starts the machine with the kernel, the initrd and the command line of all boots.
    pub(crate) fn start(program: &str, machine: &[&str], kernel: &Path) -> Result<Self, Failed> {
        let dir = tempfile::tempdir()?;
        let (socket, initrd) = (dir.path().join("gdb"), dir.path().join("initrd"));
        fs::write(&initrd, INITRD)?;
        let child = Command::new(program)
            .args(machine)
            .args(["-m", &format!("{}M", RAM >> 20), "-accel", "tcg"])
            .args(["-nodefaults", "-display", "none", "-no-reboot", "-S"])
            .args(["-append", CMDLINE, "-kernel"])
            .arg(kernel)
            .arg("-initrd")
            .arg(initrd)
            .arg("-gdb")
            .arg(format!("unix:{},server=on,wait=off", socket.display()))
            .stdin(Stdio::null())
            .spawn()?;
        let mut qemu = Self {
            child,
            gdb: Gdb::connect(&socket)?,
            dir,
        };
        // Until there is a connection, the process is one that `drop` ends.
        qemu.gdb.register(0)?;
        Ok(qemu)
    }

    /// Runs the guest to its entry.
    pub(crate) fn run_to(&mut self, addr: u64) -> Result<(), Failed> {
        self.gdb.run_to(addr)
    }

    /// A register, by its number in gdb's description of the architecture.
    pub(crate) fn register(&mut self, index: usize) -> Result<u64, Failed> {
        self.gdb.register(index)
    }

    /// Guest memory.
    pub(crate) fn memory(&mut self, addr: u64, len: u64) -> Result<Vec<u8>, Failed> {
        self.gdb.memory(addr, len, self.dir.path())
    }

    /// The little-endian number at an address.
    pub(crate) fn number(&mut self, addr: u64, len: u64) -> Result<u64, Failed> {
        let bytes = self.memory(addr, len)?;
        Ok(bytes
            .iter()
            .rev()
            .fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }

    /// The text at an address, up to its NUL.
    pub(crate) fn text(&mut self, addr: u64) -> Result<String, Failed> {
        let bytes = self.memory(addr, 0x1000)?;
        Ok(String::from_utf8(
            bytes.into_iter().take_while(|byte| *byte != 0).collect(),
        )?)
    }

    /// Compares all loads of the kernel, where QEMU has it `distance` bytes above our plan.
    pub(crate) fn compare_kernel(
        &mut self,
        plan: &BootPlan,
        file: &[u8],
        distance: u64,
    ) -> Result<(), Failed> {
        let mut compared = 0;
        for load in plan.loads().iter().filter(|load| load.is_kernel()) {
            let found = self.memory(load.range.start().wrapping_add(distance), load.range.len())?;
            let is_equal = match &load.content {
                LoadContent::File {
                    id: BootFile::Kernel,
                    range,
                } => {
                    let [start, end] = [range.offset(), range.end()].map(usize::try_from);
                    found == file[start?..end?]
                }
                LoadContent::Zeros => found.iter().all(|byte| *byte == 0),
                content => return Err(format!("{content:?}").into()),
            };
            assert!(is_equal, "{load:?} differs");
            compared += load.range.len();
        }
        assert!(compared > 1 << 20, "{compared} bytes");
        Ok(())
    }
}
