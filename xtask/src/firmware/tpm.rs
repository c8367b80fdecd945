//! An emulated TPM 2.0: swtpm, which QEMU reaches through a socket.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::error::FirmwareError;
use crate::error::{Error, WithPath as _};
use crate::packages::{self, Package};
use crate::process::Running;
use crate::workspace::Workspace;

const SWTPM: Package = Package::program("swtpm", "swtpm");

/// Time for swtpm to open its socket.
const START: Duration = Duration::from_secs(10);

/// Time between two looks for the socket.
const POLL: Duration = Duration::from_millis(20);

/// A running TPM, which ends when it is dropped.
#[derive(Debug)]
pub(super) struct Tpm {
    socket: PathBuf,
    _running: Running,
}

impl Tpm {
    /// Starts a new TPM with its state in `directory`.
    pub(super) fn start(workspace: &Workspace, directory: &Path) -> Result<Self, Error> {
        packages::ensure(workspace, &[SWTPM])?;
        let state = directory.join("tpm");
        fs::create_dir_all(&state).with_path(&state)?;
        let socket = state.join("socket");
        let mut command = Command::new("swtpm");
        command
            .args([
                "socket",
                "--tpm2",
                "--terminate",
                "--flags",
                "not-need-init,startup-clear",
            ])
            .arg("--tpmstate")
            .arg(format!("dir={}", state.display()))
            .arg("--ctrl")
            .arg(format!("type=unixio,path={}", socket.display()))
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        let running = Running::start(&mut command)?;
        let start = Instant::now();
        while !socket.exists() {
            if start.elapsed() > START {
                return Err(FirmwareError::NoTpmSocket { socket }.into());
            }
            thread::sleep(POLL);
        }
        Ok(Self {
            socket,
            _running: running,
        })
    }

    /// The options of QEMU for this TPM, with `device` as the interface that the guest sees.
    pub(super) fn options(&self, device: &str) -> [String; 6] {
        // A comma in a name ends a value unless it is doubled.
        let socket = self.socket.display().to_string().replace(',', ",,");
        [
            "-chardev".to_owned(),
            format!("socket,id=tpm-socket,path={socket}"),
            "-tpmdev".to_owned(),
            "emulator,id=tpm,chardev=tpm-socket".to_owned(),
            "-device".to_owned(),
            format!("{device},tpmdev=tpm"),
        ]
    }
}
