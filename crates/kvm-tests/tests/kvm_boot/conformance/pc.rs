//! Cases on PCs.

use boot_core::RegionKind;
use contract::{Entry, Image, Mode};
use hv_core::{Fault, Outcome, ShutdownPolicy};

use super::build::{Build, bytes, case, range};
use super::checks::{conforms, echoes, ends, fails_at_every_call, hangs, moves};
use super::soak::holds_nothing;
use crate::board::Board;
use crate::boot::kernel_base;
use crate::case::{Case, TestResult};
use crate::setup::{Seeds, Setup};

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

const fn multiboot(name: &'static str, file: &'static str) -> Build {
    Build {
        name,
        file,
        protocol: "multiboot",
        entry: Entry::Multiboot,
        image: Image::Elf,
    }
}

const fn multiboot2(name: &'static str, file: &'static str) -> Build {
    Build {
        protocol: "multiboot2",
        entry: Entry::Multiboot2,
        ..multiboot(name, file)
    }
}

/// One build for each Multiboot version, and those that are loaded in another way.
const MULTIBOOT: [Build; 5] = [
    multiboot("multiboot", "guests/x86_64/conformance-multiboot.elf"),
    multiboot2("multiboot2", "guests/x86_64/conformance-multiboot2.elf"),
    multiboot(
        "multiboot-addresses-elf",
        "guests/x86_64/conformance-multiboot-aout.elf",
    ),
    multiboot(
        "multiboot-addresses",
        "guests/x86_64/conformance-multiboot-aout.bin",
    ),
    multiboot2(
        "multiboot2-relocatable",
        "guests/x86_64/conformance-multiboot2-reloc.elf",
    ),
];

/// The machines for all builds.
fn shapes() -> [(&'static str, Setup); 5] {
    let pc = Setup::of(Board::Pc);
    let initrd = Some(bytes(300_001));
    // 150 reserved pages divide RAM into more ranges than the e820 table of the zero page can hold.
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
    let [first, second, others @ ..] = MULTIBOOT;
    for build in [first, second] {
        for (machine, setup) in shapes() {
            let run = move || conforms(build, &setup).map(|_| ());
            cases.push(case(machine, build, Box::new(run)));
        }
    }
    for build in BUILDS.into_iter().filter(|build| build.protocol == "linux") {
        cases.push(case("rng-seed", build, Box::new(move || rng_seed(build))));
    }
    let [pvh, _, pvh_relocatable, .., bzimage, _, _] = BUILDS;
    let [.., multiboot_relocatable] = MULTIBOOT;
    for build in [pvh_relocatable, bzimage] {
        cases.push(case("moved", build, Box::new(move || moved(build))));
    }
    cases.push(case(
        "at-the-end-of-ram",
        multiboot_relocatable,
        Box::new(move || at_the_end_of_ram(multiboot_relocatable)),
    ));
    for build in [pvh, first, second].into_iter().chain(others) {
        cases.push(case("modules", build, Box::new(move || modules(build))));
    }
    cases.push(case(
        "many-machines",
        pvh,
        Box::new(move || holds_nothing(pvh, &Setup::of(Board::Pc))),
    ));
    cases.push(case(
        "every-call-fails",
        pvh,
        Box::new(move || fails_at_every_call(pvh, Setup::of(Board::Pc))),
    ));
    for build in [pvh, bzimage] {
        for (name, ending) in ENDINGS {
            cases.push(case(name, build, Box::new(move || ending(build))));
        }
    }
    cases
}

/// The preferred address of the build is reserved.
fn moved(build: Build) -> TestResult {
    let setup = Setup {
        other_regions: vec![(range(0x100_0000, 0x140_0000), RegionKind::Reserved)],
        ..Setup::of(Board::Pc)
    };
    moves(build, &setup)
}

/// Random bytes, after the nodes of a map that does not fit the zero page.
fn rng_seed(build: Build) -> TestResult {
    let holes = (0..150)
        .map(|i| 0x800_0000 + i * 0x2000)
        .map(|start| (range(start, start + 0x1000), RegionKind::Reserved));
    let setup = Setup {
        other_regions: holes.collect(),
        seeds: Some(Seeds {
            rng: b"no randomness, but not zeros either",
            kaslr: None,
        }),
        ..Setup::of(Board::Pc)
    };
    conforms(build, &setup).map(|_| ())
}

/// A kernel that prefers the highest address is put there, and runs.
fn at_the_end_of_ram(build: Build) -> TestResult {
    let setup = Setup::of(Board::Pc);
    let base = kernel_base(build.file, build.protocol, &setup)?;
    if base < setup.memory - (2 << 20) {
        return Err(format!("the kernel is at {base:#x}").into());
    }
    conforms(build, &setup).map(|_| ())
}

/// Modules with and without command lines.
fn modules(build: Build) -> TestResult {
    let setup = Setup {
        initrd: Some(bytes(5000)),
        modules: vec![(bytes(1), "first a=b"), (bytes(4097), ""), (bytes(8192), "third")],
        ..Setup::of(Board::Pc)
    };
    conforms(build, &setup).map(|_| ())
}

/// Check of one outcome.
type Ending = fn(Build) -> TestResult;

/// Cases for each outcome of a guest.
const ENDINGS: [(&str, Ending); 6] = [
    ("hang-meets-its-deadline", |build| {
        hangs(build, Setup::of(Board::Pc), Mode::Hang)
    }),
    ("hlt-meets-its-deadline", |build| {
        hangs(build, Setup::of(Board::Pc), Mode::Halt)
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
