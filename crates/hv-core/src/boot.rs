//! Set-up, boot and reset of virtual machines.

use std::{fmt, sync::Arc};

use boot_core::CpuState;

use crate::{Bus, IrqError, IrqLine, Operation, Outcome, RunConfig, RunError, Vcpu, Vm, run};

/// Maps `ram` as slots 0, 1, … and creates vCPUs 0 to `vcpus` - 1 of `vm`. [`Board::new`](crate::Board::new) calls this.
///
/// # Errors
///
/// [`RunError::Operation`] with the slot or vCPU that failed.
pub fn init_vm<V: Vm>(
    vm: &V,
    ram: impl IntoIterator<Item = V::Ram>,
    vcpus: u32,
) -> Result<Vec<V::Vcpu>, RunError<V::Error>> {
    for (slot, ram) in (0..).zip(ram) {
        vm.map_ram(slot, ram).map_err(|source| RunError::Operation {
            operation: Operation::MapRam,
            target: slot,
            source,
        })?;
    }
    (0..vcpus)
        .map(|index| {
            vm.create_vcpu(index).map_err(|source| RunError::Operation {
                operation: Operation::CreateVcpu,
                target: index,
                source,
            })
        })
        .collect()
}

/// Sets the registers of the first of `vcpus` to `state` and runs all of them. The others wait until the guest starts them
/// ([`Vm::create_vcpu`]).
///
/// # Errors
///
/// As [`run()`]; also [`RunError::Operation`] when the registers cannot be set.
///
/// # Panics
///
/// As [`run()`].
pub fn boot<V: Vcpu>(
    vcpus: &mut [V],
    state: &CpuState,
    bus: &Bus,
    config: &RunConfig,
) -> Result<Outcome, RunError<V::Error>> {
    let first = vcpus.first_mut().ok_or(RunError::NoVcpus)?;
    first.set_state(state).map_err(|source| RunError::Operation {
        operation: Operation::SetState,
        target: first.index(),
        source,
    })?;
    run(vcpus, bus, config)
}

/// Resets all `vcpus` to their state after creation. RAM and devices are not changed. Interrupt controllers in the hypervisor
/// are reset by a function of the back end.
///
/// # Errors
///
/// [`RunError::Operation`] with the vCPU that failed.
pub fn reset_vcpus<V: Vcpu>(vcpus: &mut [V]) -> Result<(), RunError<V::Error>> {
    for vcpu in vcpus {
        vcpu.reset().map_err(|source| RunError::Operation {
            operation: Operation::Reset,
            target: vcpu.index(),
            source,
        })?;
    }
    Ok(())
}

/// [`IrqLine`] of a virtual machine.
pub struct VmIrqLine<V> {
    vm: Arc<V>,
    line: u32,
}

impl<V> VmIrqLine<V> {
    /// Line `line` of `vm`, in the numbering of [`Vm::set_irq`].
    #[must_use]
    pub fn new(vm: Arc<V>, line: u32) -> Self {
        Self { vm, line }
    }
}

impl<V> fmt::Debug for VmIrqLine<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VmIrqLine")
            .field("line", &self.line)
            .finish_non_exhaustive()
    }
}

impl<V: Vm> IrqLine for VmIrqLine<V> {
    fn set(&self, level: bool) -> Result<(), IrqError> {
        self.vm
            .set_irq(self.line, level)
            .map_err(|source| IrqError::new(self.line, source))
    }

    fn pulse(&self) -> Result<(), IrqError> {
        self.vm
            .pulse_irq(self.line)
            .map_err(|source| IrqError::new(self.line, source))
    }
}
