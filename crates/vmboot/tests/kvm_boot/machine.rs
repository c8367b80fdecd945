//! The machines that cases run on: one kind for each architecture.

mod arm64;
mod riscv64;
mod x86_64;

use std::error::Error;

use boot_core::{CpuState, Machine};
use guest_ram::GuestRam;
use hv_core::virt::{self, Gic, RiscvIrqchip};
use hv_core::{BoardDevices, Outcome, Policy, SerialInput};

use super::boot::Setup;
use super::console::Console;

/// What a machine has beside its memory and its CPUs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Board {
    /// x86_64: a PC without ACPI.
    Pc,
    /// The reference machine of arm64.
    Arm64(Gic),
    /// The reference machine of riscv64.
    Riscv64(RiscvIrqchip),
}

/// A machine that is loaded.
pub(crate) struct Start<'a> {
    pub(crate) machine: &'a Machine,
    pub(crate) ram: &'a GuestRam,
    pub(crate) state: &'a CpuState,
    pub(crate) console: Console,
    /// The page whose writes end the run.
    pub(crate) exit_page: Option<u64>,
    pub(crate) policy: &'a Policy,
}

impl Start<'_> {
    /// The devices of a machine that a device tree describes.
    fn devices(&self) -> BoardDevices {
        BoardDevices {
            console: Some(Box::new(self.console.clone())),
            exit_page: self.exit_page,
            ..BoardDevices::default()
        }
    }
}

impl Board {
    /// Why this host cannot make such a machine.
    pub(crate) fn obstacle(self) -> Option<String> {
        match self {
            Self::Pc => None,
            Self::Arm64(gic) => arm64::obstacle(gic),
            Self::Riscv64(irqchip) => riscv64::obstacle(irqchip),
        }
    }

    /// The description of the machine that `setup` asks for.
    pub(crate) fn describe(self, setup: &Setup) -> Result<Machine, Box<dyn Error>> {
        let mut machine = match self {
            Self::Pc => x86_64::describe(setup.memory, setup.vcpus)?,
            Self::Arm64(gic) => virt::arm64_machine(setup.memory, setup.vcpus, gic)?,
            Self::Riscv64(irqchip) => riscv64::describe(setup.memory, setup.vcpus, irqchip)?,
        };
        for bank in &setup.banks {
            machine.memory.insert(*bank, boot_core::RegionKind::Ram)?;
        }
        for (range, kind) in &setup.other_regions {
            machine.memory.reserve(*range, *kind)?;
        }
        machine.platform.reserved_memory.clone_from(&setup.reserved);
        machine.acpi_rsdp = setup.acpi_rsdp;
        Ok(machine)
    }

    /// Makes the machine on this host's KVM and runs it to its end.
    pub(crate) fn run(
        self,
        start: Start<'_>,
        with_input: impl FnOnce(SerialInput),
    ) -> Result<Outcome, Box<dyn Error>> {
        match self {
            Self::Pc => x86_64::run(start, with_input),
            Self::Arm64(_) => arm64::run(&start, with_input),
            Self::Riscv64(_) => riscv64::run(&start, with_input),
        }
    }
}
