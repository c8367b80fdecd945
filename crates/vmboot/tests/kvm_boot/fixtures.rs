//! Requirements of cases.

use std::fs::File;
use std::path::PathBuf;

use super::board::Board;
use super::machine;

/// Requirements of a case.
pub(crate) struct Needs {
    /// Files below the fixtures directory.
    pub(crate) files: Vec<String>,
    /// Kind of the machine.
    pub(crate) board: Board,
    /// Whether KVM must use hardware virtualisation, as for all guests other than small integer-only programs.
    pub(crate) hardware: bool,
}

impl Needs {
    /// Reason why the case cannot run on this host.
    pub(crate) fn skip_reason(&self) -> Option<String> {
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
            .or_else(|| machine::skip_reason(self.board))
    }
}

const VARIABLE: &str = "VMBOOT_FIXTURES";

pub(crate) fn has_virtualisation() -> bool {
    let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    cpuinfo
        .split_whitespace()
        .any(|flag| flag == "vmx" || flag == "svm")
}

/// The path of a fixture, which must be listed in [`Needs`].
pub(crate) fn path(file: &str) -> PathBuf {
    PathBuf::from(std::env::var_os(VARIABLE).unwrap_or_default()).join(file)
}
