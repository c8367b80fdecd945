//! The report on the host, which has to agree with what the other cases can do here.

use std::io::Write as _;

use hv_core::virt::{Gic, RiscvIrqchip};
use hv_kvm_test::has_virtualisation;
use vmboot::doctor::examine;
use vmboot::report::{CheckStatus, GuestSupport};

use super::board::Board;
use super::case::{Case, TestResult};
use super::fixtures::Needs;

pub(crate) fn cases() -> Vec<Case> {
    let board = match std::env::consts::ARCH {
        "x86_64" => Board::Pc,
        "aarch64" => Board::Arm64(Gic::V3WithIts),
        "riscv64" => Board::Riscv64(RiscvIrqchip::Plic),
        // There is no harness for this host.
        _ => return Vec::new(),
    };
    vec![Case {
        name: "doctor".to_owned(),
        needs: Needs {
            files: Vec::new(),
            board,
            hardware: false,
        },
        run: Box::new(move || doctor(board)),
    }]
}

/// The other cases run on this host, so the report has no problem.
fn doctor(board: Board) -> TestResult {
    let report = examine();
    // The text is for the log.
    writeln!(std::io::stderr(), "{report}")?;
    if report
        .checks
        .iter()
        .any(|check| check.status == CheckStatus::Problem)
    {
        return Err(format!("the report has a problem\n{report}").into());
    }
    let own = report.guests.iter().find(|guest| guest.arch == report.arch);
    let support = own.map(|guest| guest.support);
    let is_limited = board == Board::Pc && !has_virtualisation();
    match support {
        Some(GuestSupport::Full) => Ok(()),
        Some(GuestSupport::Limited) if is_limited => Ok(()),
        _ => Err(format!("the verdict is {support:?}\n{report}").into()),
    }
}
