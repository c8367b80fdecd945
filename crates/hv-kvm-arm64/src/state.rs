//! The whole state of a vCPU, as plain data.

use std::collections::BTreeMap;

use crate::{IccRegister, RegId, RegValue, WidthError};

/// Everything that KVM keeps for one vCPU.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VcpuState {
    /// Every register that `KVM_GET_REG_LIST` names.
    pub registers: BTreeMap<RegId, RegValue>,
    /// Whether it runs.
    pub activity: Activity,
    /// Exceptions that wait for it.
    pub events: Events,
    /// Its part of the interrupt controller.
    pub gic: GicState,
}

impl VcpuState {
    /// The value of a register of up to 64 bits; `None` where the state does not have it.
    #[must_use]
    pub fn get(&self, register: RegId) -> Option<u64> {
        self.registers.get(&register)?.to_u64()
    }

    /// Replaces the value of a register that the state has.
    ///
    /// # Errors
    ///
    /// [`StateError`].
    pub fn set(&mut self, register: RegId, value: RegValue) -> Result<(), StateError> {
        value.check(register)?;
        *self
            .registers
            .get_mut(&register)
            .ok_or(StateError::Missing { register })? = value;
        Ok(())
    }
}

/// A register cannot be set in a state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StateError {
    /// The vCPU does not have it.
    #[error("the vCPU has no {register}")]
    Missing {
        /// The register.
        register: RegId,
    },
    /// The value has another size.
    #[error(transparent)]
    Width(#[from] WidthError),
}

/// Whether a vCPU runs: `KVM_MP_STATE_*`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Activity(pub u32);

impl Activity {
    /// It runs, or would if it were entered.
    pub const RUNNABLE: Self = Self(0);
    /// It is off, and waits for PSCI's `CPU_ON`.
    pub const STOPPED: Self = Self(5);
    /// PSCI suspended the whole system.
    pub const SUSPENDED: Self = Self(10);
}

/// Exceptions that KVM will give to a vCPU when it runs next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Events {
    /// A system error waits.
    pub serror_pending: bool,
    /// Its syndrome, where the host has RAS.
    pub serror_esr: Option<u64>,
}

/// One vCPU's part of the interrupt controller.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GicState {
    /// GICv3: the CPU interface's registers that the host has.
    pub icc: BTreeMap<IccRegister, u64>,
    /// GICv3: the redistributor's registers by offset. GICv2: the distributor's banked registers and the CPU
    /// interface's, whose offsets differ.
    pub frame: BTreeMap<u32, u32>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registers_are_set_where_they_are() {
        let mut state = VcpuState::default();
        state.registers.insert(RegId::PC, RegValue::zero(RegId::PC));
        let value = |register| RegValue::number(register, 7).unwrap();
        assert_eq!(state.set(RegId::PC, value(RegId::PC)), Ok(()));
        assert_eq!(state.get(RegId::PC), Some(7));
        assert_eq!(
            state.set(RegId::FPCR, value(RegId::FPCR)),
            Err(StateError::Missing {
                register: RegId::FPCR
            })
        );
        assert!(matches!(
            state.set(RegId::PC, value(RegId::FPCR)),
            Err(StateError::Width(_))
        ));
        assert_eq!(state.get(RegId::FPCR), None);
    }
}
