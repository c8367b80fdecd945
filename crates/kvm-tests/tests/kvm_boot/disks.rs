//! Stock Linux kernels with virtio disks, which the init program reads and writes.

use std::fs;
use std::time::Duration;

use contract::Digest;
use hv_core::Outcome;
use hv_core::virt::{Gic, RiscvIrqchip};
use hv_virtio::DiskMode;

use super::board::Board;
use super::boot::boot;
use super::case::{Case, TestResult};
use super::fixtures::{Needs, path};
use super::setup::{DiskContent, DiskSetup, Setup};

/// Length of a disk: not a multiple of a page.
const LEN: usize = (3 << 20) + 512;

pub(crate) fn cases() -> Vec<Case> {
    let case = |name: &'static str, board: Board| {
        let arch = std::env::consts::ARCH;
        let kernel = match board {
            Board::Pc => "debian-13.bzImage",
            Board::Arm64(_) | Board::Riscv64(_) => "debian-13.Image",
        };
        let kernel = format!("kernels/{arch}/{kernel}");
        let initrd = format!("initrd/{arch}/linux.cpio");
        Case {
            name: format!("disks::linux::{name}"),
            needs: Needs {
                files: vec![kernel.clone(), initrd.clone()],
                board,
                hardware: true,
            },
            run: Box::new(move || read_and_write(board, &kernel, &initrd)),
        }
    };
    match std::env::consts::ARCH {
        "x86_64" => vec![case("pc", Board::Pc)],
        "aarch64" => vec![case("gicv3", Board::Arm64(Gic::V3WithIts))],
        "riscv64" => vec![
            case("plic", Board::Riscv64(RiscvIrqchip::Plic)),
            case("aplic-imsic", Board::Riscv64(RiscvIrqchip::AplicImsic)),
        ],
        // There is no harness for this host.
        _ => Vec::new(),
    }
}

/// Bytes that differ from page to page and from disk to disk.
fn content(seed: usize) -> Vec<u8> {
    (0..LEN)
        .map(|index| (index / 4096 * 13 + index % 241 + seed).to_le_bytes()[0])
        .collect()
}

/// Linux finds two disks, reads all of both, and writes to the one that is not read-only.
fn read_and_write(board: Board, kernel: &str, initrd: &str) -> TestResult {
    let is_pc = board == Board::Pc;
    let cmdline = "console=ttyS0 panic=-1 quiet init.disk";
    let disk = |seed, mode| DiskSetup {
        content: DiskContent::Bytes(content(seed)),
        mode,
    };
    let setup = Setup {
        memory: 512 << 20,
        // Debian's kernel has no option for virtio-mmio devices.
        has_acpi: is_pc,
        initrd: Some(fs::read(path(initrd))?),
        disks: vec![
            disk(0, DiskMode::CopyOnWrite { limit: 1 << 20 }),
            disk(1, DiskMode::ReadOnly),
        ],
        deadline: Duration::from_mins(4),
        ..Setup::of(board)
    };
    let protocol = match board {
        Board::Pc => "linux",
        Board::Arm64(_) => "fdt-arm64",
        Board::Riscv64(_) => "fdt-riscv64",
    };
    let run = boot(kernel, protocol, &setup, cmdline)?;
    let line = |name: &str, mode: &str, seed| {
        let Digest { len, hash } = Digest::of(&content(seed));
        format!("disk: {name} {mode} {len} {hash:#018x}")
    };
    let expected = [
        line("vda", "rw", 0),
        "disk write: vda read back".to_owned(),
        line("vdb", "ro", 1),
        "disk write: vdb Operation not permitted".to_owned(),
    ];
    run.expect(&Outcome::PowerOff, expected)
}
