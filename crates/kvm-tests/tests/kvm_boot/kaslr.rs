//! Linux kernels at addresses that seeds choose: `_text` and the physical address, read back inside the guest.

use std::env;
use std::fs;
use std::time::Duration;

use hv_core::virt::{Gic, RiscvIrqchip};

use super::board::Board;
use super::boot::{Run, boot, boot_source, kernel_base, relocated};
use super::case::{Case, TestResult};
use super::fixtures::{Needs, path};
use super::setup::{Seeds, Setup};

/// Number of seeds, each with a boot.
const SEEDS: u64 = 10;

/// Without the variable [`ALL`], every third seed: the first and the last are among them.
const STEP: usize = 3;

/// The variable with which every seed is booted.
const ALL: &str = "VMBOOT_KASLR_SEEDS";

/// Seeds from all over the range of addresses: the middle of each tenth of it.
fn seed(index: u64) -> u64 {
    u64::MAX / SEEDS * index + u64::MAX / SEEDS / 2
}

/// Virtual address of `_text` in an x86_64 kernel that has not been moved.
const X86_64_TEXT: u64 = 0xffff_ffff_8100_0000;

#[derive(Clone, Copy)]
struct Kernel {
    arch: &'static str,
    file: &'static str,
    protocol: &'static str,
    board: Board,
    /// Distance from the start of the image to what `/proc/iomem` lists as the kernel's code.
    code_offset: u64,
}

fn kernel() -> Option<Kernel> {
    match env::consts::ARCH {
        "x86_64" => Some(Kernel {
            arch: "x86_64",
            file: "kernels/x86_64/debian-13.vmlinux",
            protocol: "linux",
            board: Board::Pc,
            code_offset: 0,
        }),
        "aarch64" => Some(Kernel {
            arch: "aarch64",
            file: "kernels/aarch64/debian-13.Image",
            protocol: "fdt-arm64",
            board: Board::Arm64(Gic::V3WithIts),
            code_offset: 0,
        }),
        "riscv64" => Some(Kernel {
            arch: "riscv64",
            file: "kernels/riscv64/debian-13.Image",
            protocol: "fdt-riscv64",
            board: Board::Riscv64(RiscvIrqchip::Plic),
            code_offset: 0x2000,
        }),
        // There is no harness for this host.
        _ => None,
    }
}

pub(crate) fn cases() -> Vec<Case> {
    let step = if env::var_os(ALL).is_some() { 1 } else { STEP };
    let cases = kernel()
        .into_iter()
        .flat_map(|kernel| (0..SEEDS).step_by(step).map(move |index| case(kernel, index)));
    cases.collect()
}

fn case(kernel: Kernel, index: u64) -> Case {
    let initrd = format!("initrd/{}/linux.cpio", kernel.arch);
    Case {
        name: format!("linux::kaslr::seed-{index}"),
        needs: Needs {
            files: vec![kernel.file.into(), initrd.clone()],
            board: kernel.board,
            hardware: true,
        },
        run: Box::new(move || check(&kernel, seed(index), &initrd)),
    }
}

fn check(kernel: &Kernel, seed: u64, initrd: &str) -> TestResult {
    let is_pc = kernel.board == Board::Pc;
    let setup = Setup {
        memory: 512 << 20,
        initrd: Some(fs::read(path(initrd))?),
        kaslr: Some(seed),
        seeds: (!is_pc).then_some(Seeds {
            rng: b"sixteen bytes or",
            kaslr: Some(seed),
        }),
        stop_at: Some("init: echoing lines"),
        deadline: Duration::from_mins(4),
        ..Setup::of(kernel.board)
    };
    let cmdline = "console=ttyS0 panic=-1 quiet init.addresses init.echo";
    let base = kernel_base(kernel.file, kernel.protocol, &setup)?;
    let unmoved = Setup {
        kaslr: None,
        ..setup.clone()
    };
    if base == kernel_base(kernel.file, kernel.protocol, &unmoved)? {
        return Err("the kernel is where it is without a seed".into());
    }
    let (run, text) = if is_pc {
        let (moved, offset) = relocated(kernel.file, seed)?;
        let run = boot_source(&moved, Some(kernel.protocol), &setup, cmdline)?;
        (run, Some(X86_64_TEXT + offset.get()))
    } else {
        // The kernel chooses its virtual address itself.
        (boot(kernel.file, kernel.protocol, &setup, cmdline)?, None)
    };
    let found = (address(&run, "_text: ")?, address(&run, "kernel code: ")?);
    let expected = (text.unwrap_or(found.0), base + kernel.code_offset);
    let is_on = !is_pc || run.console.contains("kaslr: on");
    if found != expected || found.0 == 0 || !is_on {
        return Err(run.failure(&format!(
            "_text and code are at {found:x?}, expected {expected:x?}"
        )));
    }
    Ok(())
}

/// The address behind `name` on a line of the console.
fn address(run: &Run, name: &str) -> Result<u64, Box<dyn std::error::Error>> {
    let line = run
        .console
        .lines()
        .find_map(|line| line.trim().strip_prefix(name));
    let number = line.and_then(|line| line.strip_prefix("0x"));
    Ok(u64::from_str_radix(
        number.ok_or_else(|| run.failure(&format!("no {name}")))?,
        16,
    )?)
}
