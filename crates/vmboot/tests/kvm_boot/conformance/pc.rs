//! The guest of x86_64, on PCs.

use boot_core::RegionKind;
use contract::{Entry, Image, Mode};
use hv_core::{Fault, Outcome, ShutdownPolicy};

use super::build::{Build, bytes, case, range};
use super::checks::{conforms, echoes, ends, moves, stands_still};
use crate::board::Board;
use crate::case::{Case, TestResult};
use crate::setup::Setup;

const BUILDS: [Build; 8] = [
    Build {
        name: "pvh-elf64",
        file: "guests/x86_64/conformance-pvh.elf",
        protocol: "pvh",
        entry: Entry::Pvh,
        image: Image::Elf,
    },
    Build {
        name: "pvh-elf32",
        file: "guests/x86_64/conformance-pvh32.elf",
        protocol: "pvh",
        entry: Entry::Pvh,
        image: Image::Elf,
    },
    Build {
        name: "pvh-relocatable",
        file: "guests/x86_64/conformance-pvh-reloc.elf",
        protocol: "pvh",
        entry: Entry::Pvh,
        image: Image::Elf,
    },
    Build {
        name: "vmlinux-elf64",
        file: "guests/x86_64/conformance-vmlinux.elf",
        protocol: "linux",
        entry: Entry::Linux64,
        image: Image::Elf,
    },
    Build {
        name: "vmlinux-elf32",
        file: "guests/x86_64/conformance-vmlinux32.elf",
        protocol: "linux",
        entry: Entry::Linux32,
        image: Image::Elf,
    },
    Build {
        name: "bzimage",
        file: "guests/x86_64/conformance.bzImage",
        protocol: "linux",
        entry: Entry::Linux64,
        image: Image::BzImage,
    },
    Build {
        name: "bzimage-32bit",
        file: "guests/x86_64/conformance-32bit.bzImage",
        protocol: "linux",
        entry: Entry::Linux32,
        image: Image::BzImage,
    },
    Build {
        name: "bzimage-fixed",
        file: "guests/x86_64/conformance-fixed.bzImage",
        protocol: "linux",
        entry: Entry::Linux64,
        image: Image::BzImage,
    },
];

/// The machines every build must come up on.
fn shapes() -> [(&'static str, Setup); 5] {
    let pc = Setup::of(Board::Pc);
    let initrd = Some(bytes(300_001));
    // 150 pages taken out of RAM leave 150 pieces of RAM between them: more than the zero page's table holds.
    let holes = (0..150)
        .map(|i| 0x800_0000 + i * 0x2000)
        .map(|start| (range(start, start + 0x1000), RegionKind::Reserved));
    let acpi = [
        (range(0x700_0000, 0x700_4000), RegionKind::AcpiReclaimable),
        (range(0x700_4000, 0x700_5000), RegionKind::AcpiNvs),
    ];
    [
        ("plain", pc.clone()),
        (
            "small-with-initrd",
            Setup {
                memory: 64 << 20,
                initrd: initrd.clone(),
                ..pc.clone()
            },
        ),
        (
            "above-4g",
            Setup {
                memory: 5 << 30,
                initrd: initrd.clone(),
                ..pc.clone()
            },
        ),
        (
            "long-map",
            Setup {
                other_regions: holes.collect(),
                initrd,
                ..pc.clone()
            },
        ),
        (
            "acpi",
            Setup {
                other_regions: acpi.to_vec(),
                acpi_rsdp: Some(0x700_0010),
                ..pc
            },
        ),
    ]
}

pub(super) fn cases() -> Vec<Case> {
    let case =
        |name: &str, build, run: Box<dyn FnOnce() -> TestResult + Send>| case(name, build, Board::Pc, run);
    let mut cases = Vec::new();
    for build in BUILDS {
        for (machine, setup) in shapes() {
            let run = move || conforms(build, &setup).map(|_| ());
            cases.push(case(machine, build, Box::new(run)));
        }
    }
    let [pvh, _, pvh_relocatable, .., bzimage, _, _] = BUILDS;
    for build in [pvh_relocatable, bzimage] {
        cases.push(case("moved", build, Box::new(move || moved(build))));
    }
    cases.push(case("modules", pvh, Box::new(move || modules(pvh))));
    for build in [pvh, bzimage] {
        for (name, ending) in ENDINGS {
            cases.push(case(name, build, Box::new(move || ending(build))));
        }
    }
    cases
}

/// The place that the builds prefer is taken.
fn moved(build: Build) -> TestResult {
    let setup = Setup {
        other_regions: vec![(range(0x100_0000, 0x140_0000), RegionKind::Reserved)],
        ..Setup::of(Board::Pc)
    };
    moves(build, &setup)
}

/// Modules with and without command lines of their own.
fn modules(build: Build) -> TestResult {
    let setup = Setup {
        initrd: Some(bytes(5000)),
        modules: vec![(bytes(1), "first a=b"), (bytes(4097), ""), (bytes(8192), "third")],
        ..Setup::of(Board::Pc)
    };
    conforms(build, &setup).map(|_| ())
}

/// A run that ends in one way.
type Ending = fn(Build) -> TestResult;

/// Every way a guest can end, told apart.
const ENDINGS: [(&str, Ending); 6] = [
    ("hang-meets-its-deadline", |build| {
        stands_still(build, Setup::of(Board::Pc), Mode::Hang)
    }),
    ("hlt-meets-its-deadline", |build| {
        stands_still(build, Setup::of(Board::Pc), Mode::Halt)
    }),
    ("triple-fault-is-a-crash", |build| {
        ends(
            build,
            &Setup::of(Board::Pc),
            Mode::TripleFault,
            |outcome| matches!(outcome, Outcome::Crash(report) if report.fault == Fault::Shutdown),
        )
    }),
    ("triple-fault-is-a-reset-where-asked", |build| {
        let setup = Setup {
            shutdown: ShutdownPolicy::Reset,
            ..Setup::of(Board::Pc)
        };
        ends(build, &setup, Mode::TripleFault, |outcome| {
            *outcome == Outcome::Reset
        })
    }),
    ("keyboard-controller-reset", |build| {
        let is_reset = |outcome: &Outcome| *outcome == Outcome::Reset;
        ends(build, &Setup::of(Board::Pc), Mode::Reset, is_reset)
    }),
    ("serial-input-by-interrupt", |build| {
        echoes(build, Setup::of(Board::Pc), Mode::Echo)
    }),
];
