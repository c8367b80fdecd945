//! Requirements of cases.

use super::board::Board;
use super::machine;

pub(crate) use hv_kvm_test::fixture as path;

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
        let hardware = self.hardware && self.board == Board::Pc;
        hv_kvm_test::skip_reason(&self.files, hardware).or_else(|| machine::skip_reason(self.board))
    }
}
