//! Machine options of `plan` and `run`.

use std::error::Error;
use std::fmt;
use std::num::NonZeroU32;

use boot_core::machine::Isa;
use boot_core::{Arch, ByteCount, GuestRange, Machine, MemoryMap, RegionKind};
use clap::ValueEnum;
use hv_core::virt::{self, Gic, RiscvIrqchip, VirtError};
use serde::{Deserialize, Serialize};

use super::advised::AdvisedError;
use super::numa::NumaArgs;
use super::number::{MemorySize, Unit, address, memory_size, range, vcpus};
use super::smbios::SmbiosArgs;
use super::topology::TopologyArgs;

/// Machine options. The machine is a PC, or the reference machine of arm64 or riscv64, depending on the image.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct MachineArgs {
    /// Size of the guest's RAM, in MiB or with a unit, such as 512M, 3.5G, 2GiB or 536870912B.
    #[arg(long, value_name = "SIZE", default_value = "512M", value_parser = memory_size, allow_negative_numbers = true)]
    pub(crate) memory: MemorySize,
    /// Number of virtual CPUs.
    #[arg(long, value_name = "N", default_value = "1", value_parser = vcpus, allow_negative_numbers = true)]
    pub(crate) vcpus: NonZeroU32,
    /// Interrupt controller of an arm64 or riscv64 machine [default: gicv3-its on arm64; on
    /// riscv64 plic, or for `run` aplic-imsic where KVM has the AIA].
    #[arg(long, value_name = "NAME")]
    pub(crate) irqchip: Option<Irqchip>,
    /// Guest physical address of the ACPI RSDP. The tables are not created.
    #[arg(long, value_name = "ADDRESS", value_parser = address)]
    acpi_rsdp: Option<u64>,
    /// Create no ACPI tables for a PC. Its guest then has one CPU and no power-off, and finds disks by its command line only.
    #[arg(long)]
    pub(crate) no_acpi: bool,
    /// Create MP tables for a PC without ACPI tables: a kernel that reads them has all CPUs, up to 255.
    #[arg(long, requires = "no_acpi")]
    pub(crate) mp_table: bool,
    /// Describe an arm64 or riscv64 machine by ACPI tables in place of a device tree. A PC has ACPI tables without this option.
    #[arg(long, conflicts_with_all = ["no_acpi", "acpi_rsdp"])]
    pub(crate) acpi: bool,
    #[command(flatten)]
    pub(crate) numa: NumaArgs,
    #[command(flatten)]
    topology: TopologyArgs,
    #[command(flatten)]
    pub(crate) smbios: SmbiosArgs,
    /// Reserve this range of RAM in the guest's memory map, END exclusive: in bytes or with a unit; can be repeated.
    #[arg(long = "reserve", value_name = "START..END", value_parser = range)]
    reserved: Vec<GuestRange>,
}

/// Value of `--irqchip`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Irqchip {
    Gicv2,
    Gicv3,
    Gicv3Its,
    Plic,
    Aplic,
    AplicImsic,
}

/// The name as in the option.
impl fmt::Display for Irqchip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.to_possible_value()
            .map_or(Ok(()), |value| f.write_str(value.get_name()))
    }
}

/// Error in the machine options.
#[derive(Debug, thiserror::Error)]
enum MachineError {
    #[error("there is no machine for {0} images")]
    NoMachine(Arch),
    #[error("the ranges {0} and {1} of --reserve overlap")]
    Overlap(GuestRange, GuestRange),
    #[error("machines for {arch} images do not support the interrupt controller {irqchip}; {remedy}")]
    WrongIrqchip {
        arch: Arch,
        irqchip: Irqchip,
        remedy: &'static str,
    },
}

/// Frequency in Hz of the `time` counter of a riscv64 machine for `plan`; `run` uses the frequency of the host.
const TIMEBASE: u32 = 10_000_000;

impl MachineArgs {
    /// The options of a machine with so many bytes of RAM, and otherwise the default.
    pub(crate) fn plain(memory: u64, vcpus: NonZeroU32, irqchip: Option<Irqchip>) -> Self {
        Self {
            memory: MemorySize {
                bytes: memory,
                unit: Unit::Given,
            },
            vcpus,
            irqchip,
            acpi_rsdp: None,
            no_acpi: false,
            mp_table: false,
            acpi: false,
            numa: NumaArgs::default(),
            topology: TopologyArgs::default(),
            smbios: SmbiosArgs::default(),
            reserved: Vec::new(),
        }
    }

    /// The machine for images of `arch`, independent of the host.
    pub(crate) fn reference(&self, arch: Arch) -> Result<Machine, Box<dyn Error>> {
        let machine = match arch {
            Arch::X86_64 => {
                if let Some(irqchip) = self.irqchip {
                    return Err(MachineError::WrongIrqchip {
                        arch,
                        irqchip,
                        remedy: "omit --irqchip",
                    }
                    .into());
                }
                let mut machine = Machine::new(arch, MemoryMap::pc(self.memory.bytes)?);
                machine.vcpus = self.vcpus;
                machine
            }
            Arch::Aarch64 => virt::arm64_machine(self.memory.bytes, self.vcpus, self.gic()?)
                .map_err(|error| self.with_gic_help(error))?,
            Arch::Riscv64 => {
                let irqchip = self.riscv_irqchip()?.unwrap_or_default();
                virt::riscv64_machine(self.memory.bytes, self.vcpus, &Isa::rv64gc(), TIMEBASE, irqchip)?
            }
            other => return Err(MachineError::NoMachine(other).into()),
        };
        self.finish(machine)
    }

    /// Adds NUMA nodes, the topology, reserved ranges and the RSDP to `machine`.
    pub(crate) fn finish(&self, mut machine: Machine) -> Result<Machine, Box<dyn Error>> {
        self.numa.describe(&mut machine)?;
        self.topology.describe(&mut machine)?;
        for (at, range) in self.reserved.iter().enumerate() {
            let earlier = self.reserved.iter().take(at);
            if let Some(other) = earlier.copied().find(|other| other.overlaps(*range)) {
                let (start, end) = (other.start().min(range.start()), other.end().max(range.end()));
                let help = format!("use one range for both: --reserve {start:#x}..{end:#x}");
                return Err(AdvisedError::new(MachineError::Overlap(other, *range), help).into());
            }
            machine
                .memory
                .reserve(*range, RegionKind::Reserved)
                .map_err(|error| AdvisedError::new(error, ram_help("use", &machine.memory)))?;
        }
        machine.acpi_rsdp = self.acpi_rsdp;
        Ok(machine)
    }

    /// Prints how the size of the memory was understood, if that may be a surprise.
    pub(crate) fn print_notes(&self) {
        if self.memory.unit == Unit::Assumed {
            let size = ByteCount(self.memory.bytes);
            eprintln!("note: --memory without a unit is in MiB: {size}; append B for bytes");
        }
    }

    /// Whether ranges are reserved.
    pub(crate) fn has_reserved(&self) -> bool {
        !self.reserved.is_empty()
    }

    /// The same options without reserved ranges.
    pub(crate) fn without_reserved(&self) -> Self {
        Self {
            reserved: Vec::new(),
            ..self.clone()
        }
    }

    /// The same options with RAM of another size.
    pub(crate) fn with_memory(&self, memory: u64) -> Self {
        Self {
            memory: MemorySize {
                bytes: memory,
                unit: Unit::Given,
            },
            ..self.clone()
        }
    }

    /// Adds help to the limit of GICv2, which the default does not have.
    fn with_gic_help(&self, error: VirtError) -> Box<dyn Error> {
        match error {
            VirtError::TooManyCpus { max, .. } if self.irqchip == Some(Irqchip::Gicv2) => {
                let help = format!("use at most --vcpus {max}, or omit --irqchip gicv2");
                AdvisedError::new(error, help).into()
            }
            error => error.into(),
        }
    }

    /// Interrupt controller of an arm64 machine.
    pub(crate) fn gic(&self) -> Result<Gic, Box<dyn Error>> {
        Ok(match self.irqchip {
            None | Some(Irqchip::Gicv3Its) => Gic::V3WithIts,
            Some(Irqchip::Gicv3) => Gic::V3,
            Some(Irqchip::Gicv2) => Gic::V2,
            Some(irqchip) => {
                return Err(MachineError::WrongIrqchip {
                    arch: Arch::Aarch64,
                    irqchip,
                    remedy: "use gicv2, gicv3 or gicv3-its",
                }
                .into());
            }
        })
    }

    /// Interrupt controller of a riscv64 machine, if the option is present.
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
                    remedy: "use plic, aplic or aplic-imsic",
                }
                .into());
            }
        }))
    }
}

/// The RAM of a machine, as help for an address outside it, after the words for what to do.
pub(crate) fn ram_help(what_to_do: &str, map: &MemoryMap) -> String {
    /// Number of ranges that are listed.
    const MAX: usize = 4;
    let ranges: Vec<_> = map.ram().map(|range| range.to_string()).take(MAX + 1).collect();
    match ranges.get(..MAX) {
        Some(first) if ranges.len() > MAX => {
            format!("{what_to_do} addresses in RAM: {}, …", first.join(", "))
        }
        _ => format!("{what_to_do} addresses in RAM: {}", ranges.join(", ")),
    }
}
