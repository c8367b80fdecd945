//! The machine to plan for.

use std::error::Error;
use std::num::NonZeroU32;

use boot_core::machine::Isa;
use boot_core::{Arch, GuestRange, Machine, MemoryMap, RegionKind};
use hv_core::virt::{self, Gic, RiscvIrqchip};

use super::number::{number, range, size};

/// The machine: a PC, or the reference machine of arm64 or riscv64, whichever the image is for.
#[derive(Debug, clap::Args)]
pub(crate) struct MachineArgs {
    /// The guest's memory.
    #[arg(long, value_name = "SIZE", default_value = "512M", value_parser = size)]
    pub(crate) memory: u64,
    /// The number of virtual CPUs.
    #[arg(long, value_name = "N", default_value = "1")]
    pub(crate) vcpus: NonZeroU32,
    /// The interrupt controller; without it, gicv3-its for arm64 and plic for riscv64.
    #[arg(long, value_name = "NAME")]
    pub(crate) irqchip: Option<Irqchip>,
    /// The guest physical address of the ACPI RSDP.
    #[arg(long, value_name = "ADDRESS", value_parser = number)]
    acpi_rsdp: Option<u64>,
    /// Take a range out of RAM: the guest is told to leave it alone. May be given several times.
    #[arg(long = "reserve", value_name = "START..END", value_parser = range)]
    reserved: Vec<GuestRange>,
}

/// An interrupt controller that can be chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Irqchip {
    Gicv2,
    Gicv3,
    Gicv3Its,
    Plic,
    Aplic,
    AplicImsic,
}

/// What cannot be asked for.
#[derive(Debug, thiserror::Error)]
enum MachineError {
    #[error("there is no machine for {0} images here")]
    NoMachine(Arch),
    #[error("a machine for {arch} images cannot have the interrupt controller {irqchip:?}")]
    WrongIrqchip { arch: Arch, irqchip: Irqchip },
}

/// How fast the `time` counter of a riscv64 machine runs that no host has made yet, in Hz.
const TIMEBASE: u32 = 10_000_000;

impl MachineArgs {
    /// The machine for images of `arch`, as every host can plan it.
    pub(crate) fn reference(&self, arch: Arch) -> Result<Machine, Box<dyn Error>> {
        let machine = match arch {
            Arch::X86_64 => {
                if let Some(irqchip) = self.irqchip {
                    return Err(MachineError::WrongIrqchip { arch, irqchip }.into());
                }
                let mut machine = Machine::new(arch, MemoryMap::pc(self.memory)?);
                machine.vcpus = self.vcpus;
                machine
            }
            Arch::Aarch64 => virt::arm64_machine(self.memory, self.vcpus, self.gic()?)?,
            Arch::Riscv64 => {
                let irqchip = self.riscv_irqchip()?.unwrap_or_default();
                virt::riscv64_machine(self.memory, self.vcpus, &Isa::rv64gc(), TIMEBASE, irqchip)?
            }
            other => return Err(MachineError::NoMachine(other).into()),
        };
        self.finish(machine)
    }

    /// `machine` with what does not depend on where it comes from.
    pub(crate) fn finish(&self, mut machine: Machine) -> Result<Machine, Box<dyn Error>> {
        for range in &self.reserved {
            machine.memory.reserve(*range, RegionKind::Reserved)?;
        }
        machine.acpi_rsdp = self.acpi_rsdp;
        Ok(machine)
    }

    /// The interrupt controller of an arm64 machine.
    pub(crate) fn gic(&self) -> Result<Gic, Box<dyn Error>> {
        Ok(match self.irqchip {
            None | Some(Irqchip::Gicv3Its) => Gic::V3WithIts,
            Some(Irqchip::Gicv3) => Gic::V3,
            Some(Irqchip::Gicv2) => Gic::V2,
            Some(irqchip) => {
                return Err(MachineError::WrongIrqchip {
                    arch: Arch::Aarch64,
                    irqchip,
                }
                .into());
            }
        })
    }

    /// The interrupt controller of a riscv64 machine, where one was asked for.
    pub(crate) fn riscv_irqchip(&self) -> Result<Option<RiscvIrqchip>, Box<dyn Error>> {
        Ok(Some(match self.irqchip {
            None => return Ok(None),
            Some(Irqchip::Plic) => RiscvIrqchip::Plic,
            Some(Irqchip::Aplic) => RiscvIrqchip::Aplic,
            Some(Irqchip::AplicImsic) => RiscvIrqchip::AplicImsic,
            Some(irqchip) => {
                return Err(MachineError::WrongIrqchip {
                    arch: Arch::Riscv64,
                    irqchip,
                }
                .into());
            }
        }))
    }
}
