//! What a case needs to run, and why it cannot.

use std::fs::File;
use std::path::PathBuf;

use super::board::Board;
use super::machine;

/// What a case needs.
pub(crate) struct Needs {
    /// Files below the fixtures directory.
    pub(crate) files: Vec<String>,
    /// The machine that it runs on.
    pub(crate) board: Board,
    /// Whether the guest is more than a small integer-only program, so that KVM must run on hardware (or the
    /// emulation of hardware) that virtualises.
    pub(crate) hardware: bool,
}

impl Needs {
    /// The reason why the case cannot run here.
    pub(crate) fn obstacle(&self) -> Option<String> {
        if let Err(error) = File::options().read(true).write(true).open("/dev/kvm") {
            return Some(format!("/dev/kvm cannot be opened: {error}"));
        }
        if self.hardware && self.board == Board::Pc && !has_virtualisation() {
            return Some("the CPU has neither VMX nor SVM, so KVM cannot run a stock kernel".to_owned());
        }
        if std::env::var_os(VARIABLE).is_none() {
            return Some(format!(
                "{VARIABLE} is not set; `cargo xtask test` provides the fixtures"
            ));
        }
        let missing = self.files.iter().find(|file| !path(file).exists());
        missing
            .map(|file| format!("the fixture {file} is missing"))
            .or_else(|| machine::obstacle(self.board))
    }
}

const VARIABLE: &str = "VMBOOT_FIXTURES";

fn has_virtualisation() -> bool {
    let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    cpuinfo
        .split_whitespace()
        .any(|flag| flag == "vmx" || flag == "svm")
}

/// The path of a fixture. Only for cases whose [`Needs`] name it.
pub(crate) fn path(file: &str) -> PathBuf {
    PathBuf::from(std::env::var_os(VARIABLE).unwrap_or_default()).join(file)
}
