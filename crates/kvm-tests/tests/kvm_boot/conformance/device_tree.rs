//! Cases on the reference machines of arm64 and riscv64.

pub(super) mod arm64;
pub(super) mod riscv64;

use std::num::NonZeroU32;

use boot_core::machine::ReservedMemory;
use boot_core::{GuestRange, RegionKind};
use contract::Mode;
use hv_core::virt::{PCI_MEMORY, RAM_BASE};
use hv_core::{Fault, Outcome, UnhandledAccessPolicy};

use super::build::{Build, bytes, case, range};
use super::checks::{conforms, echoes, ends, fails_at_every_call, hangs, moves};
use super::soak::holds_nothing;
use crate::board::Board;
use crate::boot::Run;
use crate::case::{Case, TestResult};
use crate::setup::{Seeds, Setup};

/// Cases of one architecture.
struct Matrix<'a> {
    /// All builds, for the plain machine.
    builds: &'a [Build],
    /// Builds for machines of every shape.
    shaped: &'a [Build],
    /// Relocatable builds.
    movable: &'a [Build],
    /// Builds for machines with secondary CPUs.
    started: &'a [Build],
    /// The build for the modes and the interrupt controllers.
    first: Build,
    /// Machines with each interrupt controller; the first is the plain machine.
    boards: &'a [(&'static str, Board)],
}

impl Matrix<'_> {
    fn cases(&self) -> Vec<Case> {
        let Some(&(_, board)) = self.boards.first() else {
            return Vec::new();
        };
        let mut cases = Vec::new();
        for &build in self.builds {
            cases.push(conforming("plain", build, Setup::of(board)));
        }
        for &build in self.shaped {
            cases.extend(shapes(board).map(|(name, setup)| conforming(name, build, setup)));
        }
        for &build in self.started {
            cases.push(conforming("four-cpus", build, with_four_cpus(board)));
        }
        for &build in self.movable {
            cases.push(case("moved", build, board, move || moved(build, board)));
        }
        for &(board_name, board) in self.boards {
            let build = self.first;
            cases.push(conforming(board_name, build, with_four_cpus(board)));
            let name = format!("{board_name}::serial-input-by-interrupt");
            let typed = move || echoes(build, Setup::of(board), Mode::Echo);
            cases.push(case(&name, build, board, typed));
            let name = format!("{board_name}::every-call-fails");
            let failing = move || fails_at_every_call(build, Setup::of(board));
            cases.push(case(&name, build, board, failing));
        }
        let build = self.first;
        cases.push(case("many-machines", build, board, move || {
            holds_nothing(build, &Setup::of(board))
        }));
        for (name, ending) in ENDINGS {
            let build = self.first;
            let run = move || ending(build, Setup::of(board));
            cases.push(case(name, build, board, run));
        }
        cases
    }
}

fn conforming(name: &str, build: Build, setup: Setup) -> Case {
    case(name, build, setup.board, move || {
        let run = conforms(build, &setup)?;
        check_reservations(&run, &setup)
    })
}

/// Checks that the guest found the reserved memory of the setup.
fn check_reservations(run: &Run, setup: &Setup) -> TestResult {
    let found: Vec<_> = run
        .console
        .lines()
        .filter_map(|line| line.trim_end().strip_prefix("note memory.reserved "))
        .collect();
    let expected: Vec<_> = setup
        .reserved
        .iter()
        .map(|memory| format!("{:#x}-{:#x}", memory.range.start(), memory.range.end()))
        .collect();
    if found == expected {
        return Ok(());
    }
    Err(run.failure(&format!(
        "the setup reserves {expected:?}, and the guest found {found:?}"
    )))
}

fn with_four_cpus(board: Board) -> Setup {
    Setup {
        vcpus: NonZeroU32::MIN.saturating_add(3),
        ..Setup::of(board)
    }
}

/// Machines other than the plain one.
fn shapes(board: Board) -> [(&'static str, Setup); 4] {
    let initrd = Some(bytes(300_001));
    let holes = (0..150)
        .map(|i| RAM_BASE + 0x800_0000 + i * 0x2000)
        .map(|start| (range(start, start + 0x1000), RegionKind::Reserved));
    let reserved = |name: &'static str, start, end, no_map| {
        ReservedMemory::new(name, range(RAM_BASE + start, RAM_BASE + end)).with_no_map(no_map)
    };
    [
        (
            "small-with-initrd",
            Setup {
                memory: 64 << 20,
                initrd: initrd.clone(),
                ..Setup::of(board)
            },
        ),
        (
            "above-4g",
            Setup {
                memory: 5 << 30,
                initrd: initrd.clone(),
                ..Setup::of(board)
            },
        ),
        (
            "banks-and-reservations",
            Setup {
                memory: 128 << 20,
                banks: vec![
                    range(0x1_0000_0000, 0x1_0400_0000),
                    range(0x2_4000_0000, 0x2_4800_0000),
                ],
                reserved: vec![
                    reserved("firmware", 0x0, 0x2_0000, true),
                    reserved("log", 0x7f0_1000, 0x7f0_3000, false),
                ],
                initrd: Some(bytes(5000)),
                seeds: Some(Seeds {
                    rng: b"no randomness, but not zeros either",
                    kaslr: Some(0x0123_4567_89ab_cdef),
                }),
                ..Setup::of(board)
            },
        ),
        (
            "long-map",
            Setup {
                other_regions: holes.collect(),
                initrd,
                ..Setup::of(board)
            },
        ),
    ]
}

/// The preferred address of the build is reserved.
fn moved(build: Build, board: Board) -> TestResult {
    let free = crate::boot::kernel_base(build.file, build.protocol, &Setup::of(board))?;
    let taken = GuestRange::new(free, 0x1000).ok_or("a kernel at the end of the address space")?;
    let setup = Setup {
        other_regions: vec![(taken, RegionKind::Reserved)],
        ..Setup::of(board)
    };
    moves(build, &setup)
}

/// Check of one outcome.
type Ending = fn(Build, Setup) -> TestResult;

/// An address without RAM and devices.
const UNMAPPED: u64 = PCI_MEMORY.start();

/// Cases for each outcome of a guest.
const ENDINGS: [(&str, Ending); 8] = [
    ("hang-meets-its-deadline", |build, setup| {
        hangs(build, setup, Mode::Hang)
    }),
    ("wfi-meets-its-deadline", |build, setup| {
        hangs(build, setup, Mode::Halt)
    }),
    ("power-off", |build, setup| {
        let is_off = |outcome: &Outcome| *outcome == Outcome::PowerOff;
        ends(build, &setup, Mode::PowerOff, is_off)
    }),
    ("reset", |build, setup| {
        ends(build, &setup, Mode::Reset, |outcome| *outcome == Outcome::Reset)
    }),
    ("unclaimed-access-is-a-crash-where-asked", |build, setup| {
        let setup = Setup {
            unhandled_access: UnhandledAccessPolicy::Crash,
            ..setup
        };
        let is_crash = |outcome: &Outcome| match outcome {
            Outcome::Crash(report) => {
                matches!(&report.fault, Fault::UnhandledAccess(access) if access.address == UNMAPPED)
            }
            _ => false,
        };
        ends(build, &setup, Mode::Mmio(UNMAPPED), is_crash)
    }),
    ("first-byte-of-the-exit-page", |build, setup| {
        let setup = Setup {
            exit_page: Some(UNMAPPED),
            ..setup
        };
        // The guest writes different values to the first and the last byte of the page.
        let is_first = |outcome: &Outcome| *outcome == Outcome::DebugExit(0x5a);
        ends(build, &setup, Mode::Mmio(UNMAPPED), is_first)
    }),
    ("last-byte-of-the-exit-page", |build, setup| {
        let setup = Setup {
            exit_page: Some(UNMAPPED),
            ..setup
        };
        let is_first = |outcome: &Outcome| *outcome == Outcome::DebugExit(0x5a);
        ends(build, &setup, Mode::Mmio(UNMAPPED + 0xfff), is_first)
    }),
    ("serial-input-by-asking", |build, setup| {
        echoes(build, setup, Mode::EchoPoll)
    }),
];
