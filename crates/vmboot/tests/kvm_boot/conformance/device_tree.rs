//! The guest of arm64 and riscv64, on their reference machines.

pub(super) mod arm64;
pub(super) mod riscv64;

use std::num::NonZeroU32;

use boot_core::machine::ReservedMemory;
use boot_core::{GuestRange, RegionKind};
use contract::Mode;
use hv_core::virt::{PCI_MEMORY, RAM_BASE};
use hv_core::{Fault, Outcome, UnhandledAccessPolicy};

use super::build::{Build, bytes, case, range};
use super::checks::{conforms, echoes, ends, moves, stands_still};
use crate::board::Board;
use crate::boot::Run;
use crate::case::{Case, TestResult};
use crate::setup::{Seeds, Setup};

/// What is tried on one architecture.
struct Matrix<'a> {
    /// Every build; each comes up on the plain machine.
    builds: &'a [Build],
    /// Those that come up on machines of every shape.
    shaped: &'a [Build],
    /// Those that may run anywhere.
    movable: &'a [Build],
    /// Those that secondary CPUs start in.
    started: &'a [Build],
    /// The one that the endings and the interrupt controllers are tried with.
    first: Build,
    /// Machines with each interrupt controller, the plain one first.
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
        for &(name, board) in self.boards {
            let build = self.first;
            cases.push(conforming(name, build, with_four_cpus(board)));
            let name = format!("{name}::serial-input-by-interrupt");
            let typed = move || echoes(build, Setup::of(board), Mode::Echo);
            cases.push(case(&name, build, board, typed));
        }
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
        told_of_reservations(&run, &setup)
    })
}

/// The guest names what its tree reserves.
fn told_of_reservations(run: &Run, setup: &Setup) -> TestResult {
    let told: Vec<_> = run
        .console
        .lines()
        .filter_map(|line| line.trim_end().strip_prefix("note memory.reserved "))
        .collect();
    let expected: Vec<_> = setup
        .reserved
        .iter()
        .map(|memory| format!("{:#x}-{:#x}", memory.range.start(), memory.range.end()))
        .collect();
    if told == expected {
        return Ok(());
    }
    Err(run.complaint(&format!(
        "reserved are {expected:?}, and the guest was told of {told:?}"
    )))
}

fn with_four_cpus(board: Board) -> Setup {
    Setup {
        vcpus: NonZeroU32::MIN.saturating_add(3),
        ..Setup::of(board)
    }
}

/// Machines beside the plain one.
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
                    kaslr: 0x0123_4567_89ab_cdef,
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

/// The place that the builds prefer is taken.
fn moved(build: Build, board: Board) -> TestResult {
    let free = crate::boot::kernel_base(build.file, build.protocol, &Setup::of(board))?;
    let taken = GuestRange::new(free, 0x1000).ok_or("a kernel at the end of the address space")?;
    let setup = Setup {
        other_regions: vec![(taken, RegionKind::Reserved)],
        ..Setup::of(board)
    };
    moves(build, &setup)
}

/// A run that ends in one way.
type Ending = fn(Build, Setup) -> TestResult;

/// An address that neither RAM nor a device has.
const NOTHING: u64 = PCI_MEMORY.start();

/// Every way a guest can end, told apart.
const ENDINGS: [(&str, Ending); 8] = [
    ("hang-meets-its-deadline", |build, setup| {
        stands_still(build, setup, Mode::Hang)
    }),
    ("wfi-meets-its-deadline", |build, setup| {
        stands_still(build, setup, Mode::Halt)
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
                matches!(&report.fault, Fault::UnhandledAccess(access) if access.address == NOTHING)
            }
            _ => false,
        };
        ends(build, &setup, Mode::Mmio(NOTHING), is_crash)
    }),
    ("first-byte-of-the-exit-page", |build, setup| {
        let setup = Setup {
            exit_page: Some(NOTHING),
            ..setup
        };
        // The guest writes one value to the first byte of the page it is told of, and another to the last.
        let is_first = |outcome: &Outcome| *outcome == Outcome::DebugExit(0x5a);
        ends(build, &setup, Mode::Mmio(NOTHING), is_first)
    }),
    ("last-byte-of-the-exit-page", |build, setup| {
        let setup = Setup {
            exit_page: Some(NOTHING),
            ..setup
        };
        let is_first = |outcome: &Outcome| *outcome == Outcome::DebugExit(0x5a);
        ends(build, &setup, Mode::Mmio(NOTHING + 0xfff), is_first)
    }),
    ("serial-input-by-asking", |build, setup| {
        echoes(build, setup, Mode::EchoPoll)
    }),
];
