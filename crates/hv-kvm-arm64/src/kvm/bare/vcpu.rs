//! The vCPU of a bare machine.

use std::sync::Arc;

use boot_core::CpuState;
use hv_core::{BareVcpu, Doorbell, RegisterImage, SystemEvent, Vcpu, VcpuExit, VcpuKicker};
use hv_kvm::{HarnessError, RunStatus};
use kvm_bindings::{KVM_EXIT_HYPERCALL, KVM_HYPERCALL_EXIT_SMC};

use super::{machine::Machine, smccc};
use crate::{KvmError, Register, RegisterValue, kvm::entry::VcpuEntry};

/// The vCPU of a [`KvmBareVm`](super::KvmBareVm).
#[derive(Debug)]
pub struct KvmBareVcpu {
    /// Before `machine`, because the vCPU must not outlive the memory that the machine owns.
    pub(super) entry: VcpuEntry,
    machine: Arc<Machine>,
}

impl KvmBareVcpu {
    pub(super) fn create(machine: Arc<Machine>, index: u32) -> Result<Self, KvmError> {
        if index != 0 {
            return Err(HarnessError::NoSuchVcpu { index, count: 1 }.into());
        }
        // On an error this closes the descriptor, before the caller's reference to the machine ends.
        let entry = machine
            .process
            .create_vcpu(machine.file.fd(), machine.config.entropy)?;
        Ok(Self { entry, machine })
    }
}

impl Vcpu for KvmBareVcpu {
    type Error = KvmError;

    fn index(&self) -> u32 {
        0
    }

    fn state(&mut self) -> Result<CpuState, KvmError> {
        Ok(self.entry.state()?.into())
    }

    fn set_state(&mut self, state: &CpuState) -> Result<(), KvmError> {
        self.entry.set_state(state)
    }

    fn reset(&mut self) -> Result<(), KvmError> {
        self.entry.complete_io()?;
        self.machine.process.initialise(&self.entry)
    }

    fn run(&mut self) -> Result<VcpuExit<'_>, KvmError> {
        let status = self.entry.enter(&self.machine.file)?;
        if matches!(status, RunStatus::Exit(KVM_EXIT_HYPERCALL)) {
            let (function, flags) = self.entry.hypercall();
            let is_hvc = flags & u64::from(KVM_HYPERCALL_EXIT_SMC) == 0;
            if is_hvc && self.machine.doorbell == Doorbell::Hvc(u32::try_from(function).unwrap_or(0)) {
                return Ok(VcpuExit::Doorbell(0));
            }
            if function == u64::from(smccc::CPU_OFF) {
                // As KVM does for SYSTEM_OFF: the call does not return, unless it fails.
                self.entry
                    .write_number(Register::x(0).unwrap_or(Register::PC), smccc::INTERNAL_FAILURE)?;
                return Ok(VcpuExit::System(SystemEvent::PowerOff));
            }
        }
        Ok(match self.entry.decode(status) {
            VcpuExit::MmioWrite { address, .. } if self.machine.doorbell == Doorbell::Mmio(address) => {
                VcpuExit::Doorbell(0)
            }
            exit => exit,
        })
    }

    fn kicker(&self) -> Arc<dyn VcpuKicker> {
        self.entry.kicker()
    }
}

impl BareVcpu for KvmBareVcpu {
    type Saved = Vec<(Register, RegisterValue)>;

    fn capture(&mut self, image: &mut RegisterImage) -> Result<Self::Saved, KvmError> {
        image.0.clear();
        self.entry.complete_io()?;
        let registers = self.entry.registers()?;
        registers
            .into_iter()
            .filter(|register| !register.is_time_counter())
            .map(|register| Ok((register, self.entry.read(register)?)))
            .collect()
    }

    fn rewind(&mut self, saved: &Self::Saved, _flush: bool) -> Result<(), KvmError> {
        self.entry.complete_io()?;
        for (register, value) in saved {
            if self.entry.read(*register)? != *value {
                self.entry.write(*register, value)?;
            }
        }
        Ok(())
    }
}
