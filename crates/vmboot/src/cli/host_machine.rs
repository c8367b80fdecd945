//! Machines on this host's KVM.

use std::error::Error;

use boot_core::{Arch, Machine};
use hv_kvm_riscv as riscv64;

use super::machine::MachineArgs;

/// The machine for images of `arch` on this host.
pub(crate) fn host_machine(wanted: &MachineArgs, arch: Arch) -> Result<Machine, Box<dyn Error>> {
    if arch != Arch::Riscv64 {
        return wanted.reference(arch);
    }
    // A riscv64 guest has the instruction set and the timer frequency of the host.
    let host = riscv64::host_capabilities()?;
    let irqchip = wanted.riscv_irqchip()?.unwrap_or_else(|| host.irqchip());
    wanted.finish(host.machine(wanted.memory.bytes, wanted.vcpus, irqchip)?)
}
