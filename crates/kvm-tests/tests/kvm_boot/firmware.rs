//! The firmware of this repository, which boots a disk.

use std::time::Duration;

use hv_core::Outcome;
use hv_core::virt::{Gic, RiscvIrqchip, virtio_mmio};
use hv_virtio::{DiskMode, linux_option};

use super::board::Board;
use super::boot::boot;
use super::case::{Case, TestResult};
use super::fixtures::Needs;
use super::setup::{DiskContent, DiskSetup, Setup};

pub(crate) fn cases() -> Vec<Case> {
    let arch = std::env::consts::ARCH;
    let boards = match arch {
        "x86_64" => vec![("pc", Board::Pc, false), ("pc-acpi", Board::Pc, true)],
        "aarch64" => vec![("gicv3", Board::Arm64(Gic::V3WithIts), false)],
        "riscv64" => vec![
            ("plic", Board::Riscv64(RiscvIrqchip::Plic), false),
            ("aplic-imsic", Board::Riscv64(RiscvIrqchip::AplicImsic), false),
        ],
        // There is no harness for this host.
        _ => Vec::new(),
    };
    let case = |(name, board, has_acpi): (&str, Board, bool)| {
        let firmware = format!("firmware/{arch}/firmware");
        let medium = format!("firmware/{arch}/bls1.img");
        Case {
            name: format!("firmware::bls1::{name}"),
            needs: Needs {
                files: vec![firmware.clone(), medium.clone()],
                board,
                hardware: true,
            },
            run: Box::new(move || to_userspace(board, has_acpi, &firmware, &medium)),
        }
    };
    boards.into_iter().map(case).collect()
}

/// The firmware finds the boot entry and starts its kernel, which reaches userspace with the command line and initrd of the entry.
/// With ACPI, a PC's tables describe the disk; without, its command line does.
fn to_userspace(board: Board, has_acpi: bool, firmware: &str, medium: &str) -> TestResult {
    let setup = Setup {
        memory: 512 << 20,
        has_acpi,
        disks: vec![DiskSetup {
            content: DiskContent::Fixture(medium.to_owned()),
            mode: DiskMode::ReadOnly,
        }],
        deadline: Duration::from_mins(4),
        ..Setup::of(board)
    };
    let (protocol, cmdline, end) = match board {
        Board::Pc if !has_acpi => {
            let slots = virtio_mmio(boot_core::Arch::X86_64, 1);
            let options: Vec<_> = slots.iter().map(linux_option).collect();
            ("pvh", options.join(" "), Outcome::Reset)
        }
        Board::Pc => ("pvh", String::new(), Outcome::PowerOff),
        Board::Arm64(_) => ("fdt-arm64", String::new(), Outcome::PowerOff),
        Board::Riscv64(_) => ("fdt-riscv64", String::new(), Outcome::PowerOff),
    };
    let run = boot(firmware, protocol, &setup, &cmdline)?;
    let expected = [
        "firmware: loading Debian",
        "userspace reached: Linux ",
        "cmdline: console=ttyS0 panic=-1",
    ];
    run.expect(&end, expected)
}
