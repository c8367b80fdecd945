//! The conformance guest: every build through every protocol it supports, on machines of several shapes.

mod device_tree;
mod pc;

use std::error::Error;
use std::time::Duration;

use boot_core::GuestRange;
use contract::{CmdlineDigest, Entry, Image, Mode};
use hv_core::Outcome;

use super::board::Board;
use super::boot::{Run, boot, kernel_base};
use super::case::{Case, TestResult};
use super::fixtures::Needs;
use super::setup::Setup;

/// A build of the guest and a protocol that starts it.
#[derive(Clone, Copy)]
struct Build {
    name: &'static str,
    file: &'static str,
    protocol: &'static str,
    entry: Entry,
    image: Image,
}

pub(crate) fn cases() -> Vec<Case> {
    match std::env::consts::ARCH {
        "x86_64" => pc::cases(),
        "aarch64" => device_tree::arm64::cases(),
        "riscv64" => device_tree::riscv64::cases(),
        // No harness runs there.
        _ => Vec::new(),
    }
}

/// A case that needs the file of `build` and a machine like `board`.
fn case(name: &str, build: Build, board: Board, run: impl FnOnce() -> TestResult + Send + 'static) -> Case {
    Case {
        name: format!("conformance::{}::{name}", build.name),
        needs: Needs {
            files: vec![build.file.into()],
            board,
            hardware: false,
        },
        run: Box::new(run),
    }
}

fn range(start: u64, end: u64) -> GuestRange {
    GuestRange::from_bounds(start, end).expect("a range in a table")
}

/// Bytes that no shifted or repeated page could be mistaken for.
fn bytes(len: u32) -> Vec<u8> {
    (0..len)
        .map(|i| i.wrapping_mul(0x9e37_79b1).to_be_bytes()[0])
        .collect()
}

/// The command line that tells the guest what to do and everything it must find.
fn cmdline(build: Build, setup: &Setup, mode: Mode) -> Result<String, Box<dyn Error>> {
    let base = kernel_base(build.file, build.protocol, setup)?;
    let expectation = match setup.board {
        Board::Pc => pc::expectation(build, setup, base)?,
        Board::Arm64(_) | Board::Riscv64(_) => device_tree::expectation(build, setup, base)?,
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
fn conforms(build: Build, setup: &Setup) -> Result<Run, Box<dyn Error>> {
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
fn moves(build: Build, setup: &Setup) -> TestResult {
    let free = Setup::of(setup.board);
    let preferred = kernel_base(build.file, build.protocol, &free)?;
    let base = kernel_base(build.file, build.protocol, setup)?;
    if base == preferred {
        return Err(format!("the kernel was not moved from {base:#x}").into());
    }
    conforms(build, setup).map(|_| ())
}

/// The guest does what `mode` says, and the run ends as it must.
fn ends(build: Build, setup: &Setup, mode: Mode, expected: fn(&Outcome) -> bool) -> TestResult {
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
fn stands_still(build: Build, setup: Setup, mode: Mode) -> TestResult {
    let setup = Setup {
        deadline: STANDSTILL,
        ..setup
    };
    ends(build, &setup, mode, |outcome| *outcome == Outcome::Deadline)
}

/// Types into the guest and reads the answer.
fn echoes(build: Build, setup: Setup, mode: Mode) -> TestResult {
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
