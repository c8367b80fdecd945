//! The machines of the cases, one file for each architecture.

mod arm64;
mod riscv64;
mod start;
mod x86_64;

use std::error::Error;

use boot_core::Machine;
use hv_core::virt;
use hv_core::{Outcome, SerialInput};

use super::board::Board;
use super::setup::Setup;

pub(crate) use self::start::Start;

/// Reason why this host cannot run a machine of this kind.
pub(crate) fn skip_reason(board: Board) -> Option<String> {
    match board {
        Board::Pc => None,
        Board::Arm64(gic) => arm64::skip_reason(gic),
        Board::Riscv64(irqchip) => riscv64::skip_reason(irqchip),
    }
}

/// The description of the machine of `setup`.
pub(crate) fn describe(setup: &Setup) -> Result<Machine, Box<dyn Error>> {
    let mut machine = match setup.board {
        Board::Pc => x86_64::describe(setup.memory, setup.vcpus)?,
        Board::Arm64(gic) => virt::arm64_machine(setup.memory, setup.vcpus, gic)?,
        Board::Riscv64(irqchip) => riscv64::describe(setup.memory, setup.vcpus, irqchip)?,
    };
    for bank in &setup.banks {
        machine.memory.insert(*bank, boot_core::RegionKind::Ram)?;
    }
    for (range, kind) in &setup.other_regions {
        machine.memory.reserve(*range, *kind)?;
    }
    let disks = u32::try_from(setup.disks.len())?;
    machine.platform.virtio_mmio = virt::virtio_mmio(machine.arch, disks);
    machine.platform.reserved_memory.clone_from(&setup.reserved);
    machine.numa.clone_from(&setup.numa);
    machine.topology = setup.topology;
    machine.acpi_rsdp = setup.acpi_rsdp;
    Ok(machine)
}

/// Builds the machine on this host's KVM and runs it.
pub(crate) fn run(
    board: Board,
    start: &Start<'_>,
    with_input: impl FnOnce(SerialInput),
) -> Result<Outcome, Box<dyn Error>> {
    match board {
        Board::Pc => x86_64::run(start, with_input),
        Board::Arm64(_) => arm64::run(start, with_input),
        Board::Riscv64(_) => riscv64::run(start, with_input),
    }
}
