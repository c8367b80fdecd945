//! Stock Linux kernels, to userspace.

use std::fs;
use std::num::NonZeroU32;
use std::time::Duration;

use contract::Digest;
use hv_core::Outcome;
use hv_core::virt::{Gic, RiscvIrqchip};

use super::board::Board;
use super::boot::{Run, boot};
use super::case::{Case, TestResult};
use super::console::Answer;
use super::fixtures::{Needs, path};
use super::setup::Setup;

/// A kernel, the protocol that starts it and the machine that it is started on.
#[derive(Clone, Copy)]
struct Kernel {
    name: &'static str,
    file: &'static str,
    protocol: &'static str,
    board: Board,
}

/// A machine's size, what init is told to do there, and how that ends.
#[derive(Clone)]
struct Course {
    name: &'static str,
    vcpus: u32,
    /// Words for init.
    words: &'static str,
    answers: &'static [Answer],
    end: Outcome,
}

const fn pc(name: &'static str, file: &'static str, protocol: &'static str) -> Kernel {
    Kernel {
        name,
        file,
        protocol,
        board: Board::Pc,
    }
}

const X86_64: [Kernel; 3] = [
    pc("debian-13-bzimage", "kernels/x86_64/debian-13.bzImage", "linux"),
    pc("debian-13-vmlinux-pvh", "kernels/x86_64/debian-13.vmlinux", "pvh"),
    pc("debian-13-vmlinux", "kernels/x86_64/debian-13.vmlinux", "linux"),
];

const AARCH64: [Kernel; 1] = [Kernel {
    name: "debian-13-image",
    file: "kernels/aarch64/debian-13.Image",
    protocol: "fdt-arm64",
    board: Board::Arm64(Gic::V3WithIts),
}];

const fn riscv64(name: &'static str, irqchip: RiscvIrqchip) -> Kernel {
    Kernel {
        name,
        file: "kernels/riscv64/debian-13.Image",
        protocol: "fdt-riscv64",
        board: Board::Riscv64(irqchip),
    }
}

const RISCV64: [Kernel; 2] = [
    riscv64("debian-13-image-plic", RiscvIrqchip::Plic),
    riscv64("debian-13-image-aplic-imsic", RiscvIrqchip::AplicImsic),
];

/// What is tried on a machine like `board`.
fn courses(board: Board) -> Vec<Course> {
    // A PC without ACPI cannot be switched off, so init resets it; and its kernel finds one CPU.
    let is_pc = board == Board::Pc;
    let plain = Course {
        name: "to-userspace",
        vcpus: 1,
        words: "",
        answers: &[],
        end: if is_pc { Outcome::Reset } else { Outcome::PowerOff },
    };
    let typed = Course {
        name: "serial-input",
        words: " init.echo",
        answers: &[
            ("init: echoing lines", b"Knock, knock!\n"),
            ("echo: Knock, knock!", b"quit\n"),
        ],
        ..plain.clone()
    };
    if is_pc {
        return vec![plain, typed];
    }
    let four_cpus = Course {
        name: "four-cpus",
        vcpus: 4,
        ..plain.clone()
    };
    let reboot = Course {
        name: "reboot",
        words: " init.end=reboot",
        end: Outcome::Reset,
        ..plain.clone()
    };
    vec![plain, typed, four_cpus, reboot]
}

pub(crate) fn cases() -> Vec<Case> {
    let (arch, kernels): (_, &[Kernel]) = match std::env::consts::ARCH {
        "x86_64" => ("x86_64", &X86_64),
        "aarch64" => ("aarch64", &AARCH64),
        "riscv64" => ("riscv64", &RISCV64),
        // No harness runs there.
        _ => return Vec::new(),
    };
    let mut cases = Vec::new();
    for &kernel in kernels {
        let courses = courses(kernel.board).into_iter();
        cases.extend(courses.map(|course| case(arch, kernel, course)));
    }
    cases
}

fn case(arch: &str, kernel: Kernel, course: Course) -> Case {
    let (initrd, payload) = (
        format!("initrd/{arch}/linux.cpio"),
        format!("initrd/{arch}/payload.bin"),
    );
    Case {
        name: format!("linux::{}::{}", kernel.name, course.name),
        needs: Needs {
            files: vec![kernel.file.into(), initrd.clone(), payload.clone()],
            board: kernel.board,
            hardware: true,
        },
        run: Box::new(move || to_userspace(&kernel, &course, &initrd, &payload)),
    }
}

fn to_userspace(kernel: &Kernel, course: &Course, initrd: &str, payload: &str) -> TestResult {
    // A PC's kernel looks for ways to reboot that this one does not have, unless it is told the one that it has.
    let reboot = if kernel.board == Board::Pc {
        " reboot=k"
    } else {
        ""
    };
    let cmdline = format!(
        "console=ttyS0 panic=-1{reboot} quiet words=\"two words\"{}",
        course.words
    );
    let setup = Setup {
        memory: 512 << 20,
        vcpus: NonZeroU32::new(course.vcpus).ok_or("a machine without CPUs")?,
        initrd: Some(fs::read(path(initrd))?),
        answers: course.answers.to_vec(),
        deadline: Duration::from_mins(4),
        ..Setup::of(kernel.board)
    };
    let run = boot(kernel.file, kernel.protocol, &setup, &cmdline)?;
    let Digest { len, hash } = Digest::of(&fs::read(path(payload))?);
    let expected = [
        "userspace reached: Linux ".to_owned(),
        format!("cmdline: {cmdline}"),
        format!("cpus: {}", course.vcpus),
        format!("payload: payload.bin {len} {hash:#018x}"),
    ];
    let answered = course.answers.iter().map(|(text, _)| (*text).to_owned());
    let missing: Vec<_> = expected
        .into_iter()
        .chain(answered)
        .filter(|text| !run.console.contains(text.as_str()))
        .collect();
    if missing.is_empty() && run.outcome == course.end {
        return check_memory(&run, setup.memory);
    }
    Err(run.complaint(&format!("not printed: {missing:?}")))
}

/// The kernel must have found nearly all of the memory, and no more than there is.
fn check_memory(run: &Run, memory: u64) -> TestResult {
    let line = run
        .console
        .lines()
        .find_map(|line| line.trim().strip_prefix("memory total: "));
    let kib: u64 = line
        .and_then(|line| line.strip_suffix(" KiB"))
        .ok_or("no memory total")?
        .parse()?;
    let total = memory >> 10;
    if (total / 10 * 8..=total).contains(&kib) {
        return Ok(());
    }
    Err(run.complaint(&format!("the guest found {kib} KiB of {total} KiB")))
}
