//! Access to registers and saved states.

use std::collections::BTreeMap;

use kvm_bindings::{kvm_mp_state, kvm_vcpu_events};

use super::KvmVcpu;
use crate::{
    KvmError, MpState, Register, RegisterValue, StateError, VcpuEvents, VcpuState,
    kvm::request::failed_request,
};

impl KvmVcpu {
    /// The registers that this vCPU has, in ascending order of their ids.
    ///
    /// # Errors
    ///
    /// Errors of KVM.
    pub fn registers(&self) -> Result<Vec<Register>, KvmError> {
        self.entry.registers()
    }

    /// Saves the whole state of the vCPU. Completes the I/O of the last exit first. No other vCPU may be running.
    ///
    /// # Errors
    ///
    /// [`KvmError::VcpusNotCreated`] before all vCPUs exist, and errors of KVM.
    pub fn save_state(&mut self) -> Result<VcpuState, KvmError> {
        self.entry.complete_io()?;
        let gic = self.machine.gic()?.vcpu_state(self.index)?;
        let mp_state = self
            .entry
            .fd()
            .get_mp_state()
            .map_err(failed_request("KVM_GET_MP_STATE"))?;
        let events = self
            .entry
            .fd()
            .get_vcpu_events()
            .map_err(failed_request("KVM_GET_VCPU_EVENTS"))?;
        Ok(VcpuState {
            registers: self.read_registers(|_| true)?,
            mp_state: MpState(mp_state.mp_state),
            events: VcpuEvents {
                serror_pending: events.exception.serror_pending != 0,
                serror_esr: (events.exception.serror_has_esr != 0).then_some(events.exception.serror_esr),
            },
            gic,
        })
    }

    /// Restores a saved state, except time counters ([`Register::is_time_counter`]). No other vCPU may be running.
    ///
    /// Only registers that differ are written: some are read-only, and have the same value in every state of this vCPU.
    /// Registers that `state` does not contain keep their values.
    ///
    /// # Errors
    ///
    /// [`KvmError::MissingRegister`] when `state` has a register that this vCPU does not have; [`KvmError::VcpusNotCreated`];
    /// errors of KVM.
    pub fn restore_state(&mut self, state: &VcpuState) -> Result<(), KvmError> {
        self.entry.complete_io()?;
        self.replace(state)
    }

    /// Completes the I/O of the last exit and reads one register.
    ///
    /// # Errors
    ///
    /// [`KvmError::GetRegister`] for a register that does not exist.
    pub fn register(&mut self, register: Register) -> Result<RegisterValue, KvmError> {
        self.entry.complete_io()?;
        self.entry.read(register)
    }

    /// Completes the I/O of the last exit and writes one register.
    ///
    /// # Errors
    ///
    /// [`KvmError::State`] for a value of the wrong size; [`KvmError::SetRegister`] for a register that does not exist or a
    /// value that KVM does not accept.
    pub fn set_register(&mut self, register: Register, value: &RegisterValue) -> Result<(), KvmError> {
        self.entry.complete_io()?;
        value.check(register).map_err(StateError::from)?;
        self.entry.write(register, value)
    }

    /// Reads the registers that `is_wanted` selects.
    fn read_registers(
        &self,
        is_wanted: impl Fn(Register) -> bool,
    ) -> Result<BTreeMap<Register, RegisterValue>, KvmError> {
        self.registers()?
            .into_iter()
            .filter(|&register| is_wanted(register))
            .map(|register| Ok((register, self.entry.read(register)?)))
            .collect()
    }

    /// Restores `state`.
    pub(super) fn replace(&mut self, state: &VcpuState) -> Result<(), KvmError> {
        let gic = self.machine.gic()?;
        let current = self.read_registers(|register| state.registers.contains_key(&register))?;
        for (&register, value) in &state.registers {
            match current.get(&register) {
                None => return Err(KvmError::MissingRegister { register }),
                Some(found) if found == value || register.is_time_counter() => {}
                Some(_) => {
                    value.check(register).map_err(StateError::from)?;
                    self.entry.write(register, value)?;
                }
            }
        }
        gic.set_vcpu_state(self.index, &state.gic)?;
        let mut events = kvm_vcpu_events::default();
        events.exception.serror_pending = state.events.serror_pending.into();
        events.exception.serror_has_esr = state.events.serror_esr.is_some().into();
        events.exception.serror_esr = state.events.serror_esr.unwrap_or_default();
        self.entry
            .fd()
            .set_vcpu_events(&events)
            .map_err(failed_request("KVM_SET_VCPU_EVENTS"))?;
        let mp_state = kvm_mp_state {
            mp_state: state.mp_state.0,
        };
        self.entry
            .fd()
            .set_mp_state(mp_state)
            .map_err(failed_request("KVM_SET_MP_STATE"))
    }
}
