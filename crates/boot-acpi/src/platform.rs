//! The tables of arm64 and riscv64 machines, whose hardware is that of their platform.

use alloc::vec::Vec;

use boot_core::Machine;
use boot_core::machine::{Arm64Cpu, Cpus, RiscvCpus};

use crate::error::AcpiError;
use crate::gtdt::gtdt;
use crate::rhct::rhct;
use crate::{dsdt, madt, pci};

/// The CPUs of a machine whose description is complete.
enum PlatformCpus<'a> {
    Arm64(&'a [Arm64Cpu]),
    Riscv64(&'a RiscvCpus),
}

/// The MADT, the GTDT or RHCT, and with a PCI host the MCFG and IORT.
pub(crate) fn tables(machine: &Machine) -> Result<Vec<Vec<u8>>, AcpiError> {
    let platform = &machine.platform;
    let controller = &platform.interrupt_controller;
    let mut tables: Vec<_> = match cpus(machine)? {
        PlatformCpus::Arm64(cpus) => {
            if cpus.len() > 1 && platform.psci.is_none() {
                return Err(AcpiError::NoPsci);
            }
            let timer = platform.timer.as_ref().ok_or(AcpiError::NoTimer)?;
            [madt::of_arm64(cpus, controller)?, gtdt(timer)?].into()
        }
        PlatformCpus::Riscv64(cpus) => [madt::of_riscv64(&cpus.harts, controller)?, rhct(cpus)?].into(),
    };
    if let Some(host) = &platform.pci {
        tables.push(pci::mcfg(host)?);
        tables.extend(pci::iort(machine, host));
    }
    Ok(tables)
}

/// The CPUs of the platform: as many as the machine has, and of its architecture.
fn cpus(machine: &Machine) -> Result<PlatformCpus<'_>, AcpiError> {
    use boot_core::Arch;
    let vcpus = machine.vcpus.get();
    let max = u32::try_from(dsdt::MAX_NAMES).unwrap_or(u32::MAX);
    if vcpus > max {
        return Err(AcpiError::TooManyCpus { found: vcpus, max });
    }
    let (cpus, mut ids): (_, Vec<u64>) = match (&machine.platform.cpus, machine.arch) {
        (Cpus::Arm64(cpus), Arch::Aarch64) => (
            PlatformCpus::Arm64(cpus),
            cpus.iter().map(Arm64Cpu::affinity).collect(),
        ),
        (Cpus::Riscv64(cpus), Arch::Riscv64) => (
            PlatformCpus::Riscv64(cpus),
            cpus.harts.iter().map(|hart| hart.hart_id).collect(),
        ),
        _ => return Err(AcpiError::NoCpus(machine.arch)),
    };
    if u32::try_from(ids.len()) != Ok(vcpus) {
        return Err(AcpiError::CpuCount {
            described: ids.len(),
            vcpus,
        });
    }
    ids.sort_unstable();
    let mut pairs = ids.iter().zip(ids.iter().skip(1));
    match pairs.find(|(id, next)| id == next) {
        Some((id, _)) => Err(AcpiError::DuplicateCpu { id: *id }),
        None => Ok(cpus),
    }
}
