//! Checks of runs of the guest.

use std::error::Error;
use std::time::Duration;

use contract::{CmdlineDigest, Mode};
use hv_core::Outcome;

use super::build::Build;
use super::expectation;
use crate::board::Board;
use crate::boot::{Run, boot, kernel_base};
use crate::case::TestResult;
use crate::setup::Setup;

/// The command line that tells the guest what to do and everything it must find.
fn cmdline(build: Build, setup: &Setup, mode: Mode) -> Result<String, Box<dyn Error>> {
    let base = kernel_base(build.file, build.protocol, setup)?;
    let expectation = match setup.board {
        Board::Pc => expectation::pc::expectation(build, setup, base)?,
        Board::Arm64(_) | Board::Riscv64(_) => expectation::device_tree::expectation(build, setup, base)?,
    };
    let prefix = format!("{mode} {expectation} ");
    Ok(format!("{prefix}{}", CmdlineDigest::of(prefix.as_bytes())))
}

fn run(build: Build, setup: &Setup, mode: Mode) -> Result<Run, Box<dyn Error>> {
    boot(build.file, build.protocol, setup, &cmdline(build, setup, mode)?)
}

/// How the guest leaves a machine like `board` when nothing was wrong.
fn left_well(board: Board) -> Outcome {
    match board {
        Board::Pc => Outcome::DebugExit(0x10),
        Board::Arm64(_) | Board::Riscv64(_) => Outcome::PowerOff,
    }
}

/// The guest checks its contract and finds nothing wrong.
pub(super) fn conforms(build: Build, setup: &Setup) -> Result<Run, Box<dyn Error>> {
    let run = run(build, setup, Mode::Exit)?;
    let failed: Vec<_> = run
        .console
        .lines()
        .filter(|line| line.starts_with("FAIL"))
        .collect();
    let passed = run.console.lines().filter(|line| line.starts_with("ok ")).count();
    let total = format!("conformance: {passed} ok, 0 failed");
    // Every build checks at least its registers, its image and its memory map.
    if run.outcome == left_well(setup.board)
        && failed.is_empty()
        && passed >= 30
        && run.console.contains(&total)
    {
        return Ok(run);
    }
    Err(run.complaint(&format!("failed clauses: {failed:#?}")))
}

/// A relocatable kernel whose preferred place is taken on `setup` goes elsewhere and runs there.
pub(super) fn moves(build: Build, setup: &Setup) -> TestResult {
    let free = Setup::of(setup.board);
    let preferred = kernel_base(build.file, build.protocol, &free)?;
    let base = kernel_base(build.file, build.protocol, setup)?;
    if base == preferred {
        return Err(format!("the kernel was not moved from {base:#x}").into());
    }
    conforms(build, setup).map(|_| ())
}

/// The guest does what `mode` says, and the run ends as it must.
pub(super) fn ends(build: Build, setup: &Setup, mode: Mode, expected: fn(&Outcome) -> bool) -> TestResult {
    let run = run(build, setup, mode)?;
    // Without this line the guest never came as far as to do what it was asked.
    let ready = mode.to_string();
    if run.console.lines().any(|line| line.trim_end() == ready) && expected(&run.outcome) {
        return Ok(());
    }
    Err(run.complaint(&format!("{mode} must end in another way")))
}

/// How long a guest may stand still that will not end: long enough to come up, even in an emulated host.
const STANDSTILL: Duration = Duration::from_secs(8);

/// A guest that does nothing more meets its deadline.
pub(super) fn stands_still(build: Build, setup: Setup, mode: Mode) -> TestResult {
    let setup = Setup {
        deadline: STANDSTILL,
        ..setup
    };
    ends(build, &setup, mode, |outcome| *outcome == Outcome::Deadline)
}

/// Types into the guest and reads the answer.
pub(super) fn echoes(build: Build, setup: Setup, mode: Mode) -> TestResult {
    let setup = Setup {
        answers: vec![("mode=echo", b"Knock, knock!"), ("Knock, knock!", b"q")],
        ..setup
    };
    let run = run(build, &setup, mode)?;
    if run.console.contains("Knock, knock!q") && run.outcome == left_well(setup.board) {
        return Ok(());
    }
    Err(run.complaint(&format!("{mode} must echo what is typed")))
}
