//! Checks of runs of the guest.

use std::error::Error;
use std::time::Duration;

use contract::{CmdlineDigest, Mode};
use hv_core::Outcome;

use super::build::Build;
use super::expectation;
use crate::board::Board;
use crate::boot::{Run, boot, kernel_base};
use crate::case::{TestResult, every_call_fails};
use crate::setup::Setup;

/// The command line with `mode` and the expectation.
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

/// The outcome of a successful run on a machine of kind `board`.
fn success(board: Board) -> Outcome {
    match board {
        Board::Pc => Outcome::DebugExit(0x10),
        Board::Arm64(_) | Board::Riscv64(_) => Outcome::PowerOff,
    }
}

/// Checks that all clauses hold.
pub(super) fn conforms(build: Build, setup: &Setup) -> Result<Run, Box<dyn Error>> {
    let run = run(build, setup, Mode::Exit)?;
    let failed: Vec<_> = run
        .console
        .lines()
        .filter(|line| line.starts_with("FAIL"))
        .collect();
    let passed = run.console.lines().filter(|line| line.starts_with("ok ")).count();
    let total = format!("conformance: {passed} ok, 0 failed");
    // Every build checks at least its registers, image and memory map.
    if run.outcome == success(setup.board)
        && failed.is_empty()
        && passed >= 30
        && run.console.contains(&total)
    {
        return Ok(run);
    }
    Err(run.failure(&format!("failed clauses: {failed:#?}")))
}

/// Checks runs of which each call to KVM, and each for memory and files, fails once.
pub(super) fn fails_at_every_call(build: Build, setup: Setup) -> TestResult {
    every_call_fails(move || conforms(build, &setup).map(drop))
}

/// Checks that a relocatable kernel whose preferred address is not available on `setup` is moved and conforms.
pub(super) fn moves(build: Build, setup: &Setup) -> TestResult {
    let free = Setup::of(setup.board);
    let preferred = kernel_base(build.file, build.protocol, &free)?;
    let base = kernel_base(build.file, build.protocol, setup)?;
    if base == preferred {
        return Err(format!("the kernel was not moved from {base:#x}").into());
    }
    conforms(build, setup).map(|_| ())
}

/// Checks that the guest runs `mode` and that the outcome is as `expected`.
pub(super) fn ends(build: Build, setup: &Setup, mode: Mode, expected: fn(&Outcome) -> bool) -> TestResult {
    let run = run(build, setup, mode)?;
    // The guest prints this line when it starts `mode`.
    let ready = mode.to_string();
    if run.console.lines().any(|line| line.trim_end() == ready) && expected(&run.outcome) {
        return Ok(());
    }
    Err(run.failure(&format!("unexpected outcome of {mode}")))
}

/// Deadline of a guest that does not end the run. It must suffice to boot, also on an emulated host.
const HANG_DEADLINE: Duration = Duration::from_secs(8);

/// Checks that a guest that hangs reaches its deadline.
pub(super) fn hangs(build: Build, setup: Setup, mode: Mode) -> TestResult {
    let setup = Setup {
        deadline: HANG_DEADLINE,
        ..setup
    };
    ends(build, &setup, mode, |outcome| *outcome == Outcome::Deadline)
}

/// Checks that the guest echoes console input.
pub(super) fn echoes(build: Build, setup: Setup, mode: Mode) -> TestResult {
    let setup = Setup {
        answers: vec![("mode=echo", b"Knock, knock!"), ("Knock, knock!", b"q")],
        ..setup
    };
    let run = run(build, &setup, mode)?;
    if run.console.contains("Knock, knock!q") && run.outcome == success(setup.board) {
        return Ok(());
    }
    Err(run.failure(&format!("{mode} must echo the input")))
}
