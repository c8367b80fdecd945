//! Registers of fake vCPUs.

use boot_core::CpuState;

use super::error::FakeError;

/// State of a fake vCPU that [`Vcpu::set_state`](crate::Vcpu::set_state) writes.
#[derive(Clone, Debug)]
pub(super) struct Registers {
    reset: CpuState,
    pub(super) current: CpuState,
}

impl Registers {
    /// The reset state.
    pub(super) fn new(reset: &CpuState) -> Self {
        Self {
            reset: reset.clone(),
            current: reset.clone(),
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
    }
}
