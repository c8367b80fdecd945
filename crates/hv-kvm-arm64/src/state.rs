//! Saved state of a vCPU as plain data.

use std::collections::BTreeMap;

use crate::{IccRegister, Register, RegisterValue, WidthError};

/// Saved state of a vCPU.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct VcpuState {
    /// All registers of `KVM_GET_REG_LIST`.
    pub registers: BTreeMap<Register, RegisterValue>,
    /// Run state.
    pub mp_state: MpState,
    /// Pending exceptions.
    pub events: VcpuEvents,
    /// Part of the interrupt controller that belongs to the vCPU.
    pub gic: GicState,
}

impl VcpuState {
    /// Value of a register of up to 64 bits; `None` if the state does not contain it.
    #[must_use]
    pub fn get(&self, register: Register) -> Option<u64> {
        self.registers.get(&register)?.to_u64()
    }

    /// Sets the value of a register that the state contains.
    ///
    /// # Errors
    ///
    /// [`StateError::Missing`] if the state does not contain the register, [`StateError::Width`] for a value of another size.
    pub fn set(&mut self, register: Register, value: RegisterValue) -> Result<(), StateError> {
        value.check(register)?;
        *self
            .registers
            .get_mut(&register)
            .ok_or(StateError::Missing { register })? = value;
        Ok(())
    }
}

/// Failure to set a register of a state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StateError {
    /// The state does not contain the register.
    #[error("the state does not contain {register}")]
    Missing {
        /// The register.
        register: Register,
    },
    /// The value has the wrong size.
    #[error(transparent)]
    Width(#[from] WidthError),
}

/// Run state of a vCPU: a `KVM_MP_STATE_*` number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MpState(pub u32);

impl MpState {
    /// Executes instructions.
    pub const RUNNABLE: Self = Self(0);
    /// Off: waits for PSCI `CPU_ON`.
    pub const STOPPED: Self = Self(5);
    /// Suspended by PSCI `SYSTEM_SUSPEND`.
    pub const SUSPENDED: Self = Self(10);
}

/// Pending exceptions of a vCPU (`struct kvm_vcpu_events`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct VcpuEvents {
    /// An SError is pending.
    pub serror_pending: bool,
    /// Syndrome of the SError; `None` on hosts without the RAS extension.
    pub serror_esr: Option<u64>,
}

/// Part of the interrupt controller that belongs to one vCPU.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct GicState {
    /// Registers of the CPU interface that the host supports; empty for a GICv2.
    pub icc: BTreeMap<IccRegister, u64>,
    /// Memory-mapped registers by offset. GICv3: those of the redistributor. GICv2: the banked registers of the distributor and
    /// the registers of the CPU interface, whose offsets do not overlap.
    pub registers: BTreeMap<u32, u32>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_registers_of_the_state_can_be_set() {
        let mut state = VcpuState::default();
        state
            .registers
            .insert(Register::PC, RegisterValue::zero(Register::PC));
        let value = |register| RegisterValue::from_number(register, 7).unwrap();
        assert_eq!(state.set(Register::PC, value(Register::PC)), Ok(()));
        assert_eq!(state.get(Register::PC), Some(7));
        assert_eq!(
            state.set(Register::FPCR, value(Register::FPCR)),
            Err(StateError::Missing {
                register: Register::FPCR
            })
        );
        assert!(matches!(
            state.set(Register::PC, value(Register::FPCR)),
            Err(StateError::Width(_))
        ));
        assert_eq!(state.get(Register::FPCR), None);
    }
}
