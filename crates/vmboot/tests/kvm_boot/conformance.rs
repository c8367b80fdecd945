//! The conformance guest: every build, every protocol it supports, machines of several shapes.

use std::time::Duration;

use boot_core::{GuestRange, RegionKind};
use contract::{Blob, Digest, Entry, Expectation, Image, Memory, MemoryRange, Mode, Module, Seal};
use hv_core::{Fault, OnShutdown, Outcome};

use super::boot::{Run, Setup, boot};
use super::fixtures::Needs;
use super::{Case, TestResult};

/// A build of the guest and a protocol that starts it.
#[derive(Clone, Copy)]
struct Build {
    name: &'static str,
    file: &'static str,
    protocol: &'static str,
    entry: Entry,
    image: Image,
}

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

fn range(start: u64, end: u64) -> GuestRange {
    GuestRange::from_bounds(start, end).expect("a range in a table")
}

/// Bytes that no shifted or repeated page could be mistaken for.
fn bytes(len: u32) -> Vec<u8> {
    (0..len)
        .map(|i| i.wrapping_mul(0x9e37_79b1).to_be_bytes()[0])
        .collect()
}

/// The machines every build must come up on.
fn setups() -> [(&'static str, Setup); 5] {
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
        ("plain", Setup::default()),
        (
            "small-with-initrd",
            Setup {
                memory: 64 << 20,
                initrd: initrd.clone(),
                ..Setup::default()
            },
        ),
        (
            "above-4g",
            Setup {
                memory: 5 << 30,
                initrd: initrd.clone(),
                ..Setup::default()
            },
        ),
        (
            "long-map",
            Setup {
                carved: holes.collect(),
                initrd,
                ..Setup::default()
            },
        ),
        (
            "acpi",
            Setup {
                carved: acpi.to_vec(),
                acpi_rsdp: Some(0x700_0010),
                ..Setup::default()
            },
        ),
    ]
}

/// The map as the guest must find it, with the type numbers of the ACPI specification (section 15).
fn expected_map(setup: &Setup) -> Vec<MemoryRange> {
    let regions = setup.memory_map();
    let kind = |kind| match kind {
        RegionKind::Ram => 1,
        RegionKind::Reserved => 2,
        RegionKind::AcpiReclaimable => 3,
        RegionKind::AcpiNvs => 4,
        other => panic!("no case uses {other}"),
    };
    regions
        .regions()
        .iter()
        .map(|region| MemoryRange {
            start: region.range.start(),
            end: region.range.end(),
            kind: kind(region.kind),
        })
        .collect()
}

/// The command line that tells the guest everything it must find on `setup`.
fn cmdline(build: Build, setup: &Setup, mode: Mode, base: Option<u64>) -> String {
    let map = expected_map(setup);
    let mut modules = [None; contract::MAX_MODULES];
    let initrd = setup.initrd.iter().map(|bytes| (bytes, ""));
    let files = initrd.chain(setup.modules.iter().map(|(bytes, line)| (bytes, *line)));
    for (slot, (bytes, line)) in modules.iter_mut().zip(files.clone()) {
        let cmdline = (!line.is_empty()).then(|| Digest::of(line.as_bytes()));
        *slot = Some(Module {
            content: Digest::of(bytes),
            cmdline,
        });
    }
    let pvh = build.entry == Entry::Pvh;
    let expectation = Expectation {
        entry: Some(build.entry),
        image: (!pvh).then_some(build.image),
        base,
        memory: Some(if map.len() > 8 {
            Memory::digest_of(&map)
        } else {
            Memory::Ranges(&map)
        }),
        initrd: (!pvh).then(|| match &setup.initrd {
            Some(bytes) => Blob::Present(Digest::of(bytes)),
            None => Blob::Absent,
        }),
        module_count: pvh.then(|| u64::try_from(files.count()).expect("few files")),
        modules: if pvh {
            modules
        } else {
            [None; contract::MAX_MODULES]
        },
        rsdp: Some(setup.acpi_rsdp.unwrap_or(0)),
        ..Expectation::default()
    };
    let sealed = format!("{mode} {expectation} ");
    format!("{sealed}{}", Seal::over(sealed.as_bytes()))
}

/// Asserts that the guest checked its contract and found nothing wrong.
fn check_clauses(run: &Run) -> TestResult {
    let console = &run.console;
    let failed: Vec<_> = console.lines().filter(|line| line.starts_with("FAIL")).collect();
    let passed = console.lines().filter(|line| line.starts_with("ok ")).count();
    let total = format!("conformance: {passed} ok, 0 failed");
    // Every build checks at least its registers, its image and its memory map.
    if run.outcome == Outcome::DebugExit(0x10)
        && failed.is_empty()
        && passed >= 30
        && console.contains(&total)
    {
        return Ok(());
    }
    Err(format!(
        "{}; failed clauses: {failed:#?}; console:\n{console}",
        run.outcome
    )
    .into())
}

pub(crate) fn cases() -> Vec<Case> {
    let case = |name: String, build: Build, run: Box<dyn FnOnce() -> TestResult + Send>| Case {
        name,
        needs: Needs {
            files: vec![build.file],
            hardware: false,
        },
        run,
    };
    let mut cases = Vec::new();
    for build in BUILDS {
        for (machine, setup) in setups() {
            let run = move || {
                let line = cmdline(build, &setup, Mode::Exit, None);
                check_clauses(&boot(build.file, build.protocol, &setup, &line)?)
            };
            cases.push(case(
                format!("conformance::{}::{machine}", build.name),
                build,
                Box::new(run),
            ));
        }
    }
    let [pvh, _, pvh_relocatable, .., bzimage, _, _] = BUILDS;
    for (build, name) in [(pvh_relocatable, "pvh-relocatable"), (bzimage, "bzimage")] {
        cases.push(case(
            format!("conformance::{name}::moved"),
            build,
            Box::new(move || moved(build)),
        ));
    }
    cases.push(case(
        "conformance::pvh-elf64::modules".into(),
        pvh,
        Box::new(move || modules(pvh)),
    ));
    for build in [pvh, bzimage] {
        for (name, ending) in ENDINGS {
            let name = format!("conformance::{}::{name}", build.name);
            cases.push(case(name, build, Box::new(move || ending(build))));
        }
    }
    cases
}

/// A relocatable kernel whose preferred place is taken goes elsewhere and runs there.
fn moved(build: Build) -> TestResult {
    let setup = Setup {
        carved: vec![(range(0x100_0000, 0x140_0000), RegionKind::Reserved)],
        ..Setup::default()
    };
    let first = boot(
        build.file,
        build.protocol,
        &setup,
        &cmdline(build, &setup, Mode::Exit, None),
    )?;
    check_clauses(&first)?;
    if first.base == 0x100_0000 {
        return Err("the kernel was not moved".into());
    }
    let line = cmdline(build, &setup, Mode::Exit, Some(first.base));
    check_clauses(&boot(build.file, build.protocol, &setup, &line)?)
}

/// Modules with and without command lines of their own.
fn modules(build: Build) -> TestResult {
    let setup = Setup {
        initrd: Some(bytes(5000)),
        modules: vec![(bytes(1), "first a=b"), (bytes(4097), ""), (bytes(8192), "third")],
        ..Setup::default()
    };
    check_clauses(&boot(
        build.file,
        build.protocol,
        &setup,
        &cmdline(build, &setup, Mode::Exit, None),
    )?)
}

/// A run that ends in one way.
type Ending = fn(Build) -> TestResult;

/// Every way a guest can end, told apart.
const ENDINGS: [(&str, Ending); 6] = [
    ("hang-meets-its-deadline", |build| {
        ends(build, Mode::Hang, Setup::default(), |outcome| {
            *outcome == Outcome::Deadline
        })
    }),
    ("hlt-meets-its-deadline", |build| {
        ends(build, Mode::Halt, Setup::default(), |outcome| {
            *outcome == Outcome::Deadline
        })
    }),
    ("triple-fault-is-a-crash", |build| {
        ends(
            build,
            Mode::Triple,
            Setup::default(),
            |outcome| matches!(outcome, Outcome::Crash(report) if report.fault == Fault::Shutdown),
        )
    }),
    ("triple-fault-is-a-reset-where-asked", |build| {
        let setup = Setup {
            on_shutdown: OnShutdown::Reset,
            ..Setup::default()
        };
        ends(build, Mode::Triple, setup, |outcome| *outcome == Outcome::Reset)
    }),
    ("keyboard-controller-reset", |build| {
        ends(build, Mode::Reset, Setup::default(), |outcome| {
            *outcome == Outcome::Reset
        })
    }),
    ("serial-input-by-interrupt", |build| echo(build, Mode::Echo)),
];

fn ends(build: Build, mode: Mode, setup: Setup, expected: fn(&Outcome) -> bool) -> TestResult {
    let setup = Setup {
        deadline: Duration::from_secs(10),
        ..setup
    };
    let run = boot(
        build.file,
        build.protocol,
        &setup,
        &cmdline(build, &setup, mode, None),
    )?;
    if expected(&run.outcome) {
        return Ok(());
    }
    Err(format!("{mode} ended with: {}; console:\n{}", run.outcome, run.console).into())
}

/// Types into the guest and reads the answer.
fn echo(build: Build, mode: Mode) -> TestResult {
    let setup = Setup {
        answer: Some((ECHO_READY, b"Knock, knock!q")),
        ..Setup::default()
    };
    let run = boot(
        build.file,
        build.protocol,
        &setup,
        &cmdline(build, &setup, mode, None),
    )?;
    if run.console.contains("Knock, knock!") && matches!(run.outcome, Outcome::DebugExit(_)) {
        return Ok(());
    }
    Err(format!("{mode} ended with: {}; console:\n{}", run.outcome, run.console).into())
}

/// What the guest prints when it is ready for input.
const ECHO_READY: &str = "mode=echo";
