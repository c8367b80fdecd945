//! From a hypervisor's parts to a running guest.

use std::{fmt, sync::Arc};

use boot_core::CpuState;

use crate::{Bus, IrqError, IrqLine, Operation, Outcome, Policy, RunError, Vcpu, Vm, run};

/// Maps `ram` as slots 0, 1, … and creates vCPUs 0 to `vcpus` - 1.
///
/// # Errors
///
/// [`RunError::Operation`] with the slot or vCPU that the back end refused.
pub fn assemble<V: Vm>(
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

/// Gives the first of `vcpus` its entry state and runs them all; the others wait to be started by the guest.
///
/// # Errors
///
/// As [`run()`]; also [`RunError::Operation`] when the back end refuses the state.
///
/// # Panics
///
/// As [`run()`].
pub fn boot<V: Vcpu>(
    vcpus: &mut [V],
    state: &CpuState,
    bus: &Bus,
    policy: &Policy,
) -> Result<Outcome, RunError<V::Error>> {
    let first = vcpus.first_mut().ok_or(RunError::NoVcpus)?;
    first.set_state(state).map_err(|source| RunError::Operation {
        operation: Operation::SetState,
        target: first.index(),
        source,
    })?;
    run(vcpus, bus, policy)
}

/// Puts all `vcpus` back into the state they were created in, as a machine reset does. RAM and devices stay.
///
/// # Errors
///
/// [`RunError::Operation`] with the vCPU that could not be reset.
pub fn reset<V: Vcpu>(vcpus: &mut [V]) -> Result<(), RunError<V::Error>> {
    for vcpu in vcpus {
        vcpu.reset().map_err(|source| RunError::Operation {
            operation: Operation::Reset,
            target: vcpu.index(),
            source,
        })?;
    }
    Ok(())
}

/// An interrupt line of a virtual machine, as devices want it.
pub struct VmIrq<V> {
    vm: Arc<V>,
    line: u32,
}

impl<V> VmIrq<V> {
    /// Line `line` of `vm`.
    #[must_use]
    pub fn new(vm: Arc<V>, line: u32) -> Self {
        Self { vm, line }
    }
}

impl<V> fmt::Debug for VmIrq<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VmIrq")
            .field("line", &self.line)
            .finish_non_exhaustive()
    }
}

impl<V: Vm> IrqLine for VmIrq<V> {
    fn pulse(&self) -> Result<(), IrqError> {
        self.vm.pulse_irq(self.line).map_err(|source| IrqError {
            line: self.line,
            source: source.into(),
        })
    }
}
