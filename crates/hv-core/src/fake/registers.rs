//! Registers of fake vCPUs.

use boot_core::CpuState;

use super::error::FakeError;
use crate::GuestRegisters;

/// State of a fake vCPU that [`Vcpu::set_state`](crate::Vcpu::set_state) writes.
#[derive(Clone, Debug)]
pub(super) struct Registers {
    reset: CpuState,
    pub(super) current: CpuState,
    /// What a debugger wrote, for the registers that are not in `current`.
    pub(super) others: Option<GuestRegisters>,
}

impl Registers {
    /// The reset state.
    pub(super) fn new(reset: &CpuState) -> Self {
        Self {
            reset: reset.clone(),
            current: reset.clone(),
            others: None,
        }
    }

    /// Replaces the state by one of the same architecture.
    pub(super) fn set(&mut self, state: &CpuState) -> Result<(), FakeError> {
        let (expected, found) = (self.reset.arch(), state.arch());
        if expected != found {
            return Err(FakeError::ArchMismatch { expected, found });
        }
        self.current = state.clone();
        Ok(())
    }

    /// Goes back to the reset state.
    pub(super) fn reset(&mut self) {
        self.current = self.reset.clone();
        self.others = None;
    }

    /// All registers.
    pub(super) fn read(&self) -> Result<GuestRegisters, FakeError> {
        let known = self.others.clone().or_else(|| GuestRegisters::new(&self.current));
        let arch = self.current.arch();
        let mut registers = known.ok_or(FakeError::NoRegisters { arch })?;
        registers.set_cpu_state(&self.current)?;
        Ok(registers)
    }

    /// Replaces all registers by those of the same architecture.
    pub(super) fn write(&mut self, registers: &GuestRegisters) -> Result<(), FakeError> {
        self.set(&registers.cpu_state())?;
        self.others = Some(registers.clone());
        Ok(())
    }
}
