//! Reading and writing registers.

use std::collections::BTreeMap;

use kvm_bindings::{kvm_mp_state, kvm_vcpu_events};

use super::KvmVcpu;
use crate::{Activity, Events, GicState, KvmError, RegId, RegValue, StateError, VcpuState, kvm::refused};

impl KvmVcpu {
    /// The registers that this vCPU has, in ascending order of their ids.
    ///
    /// # Errors
    ///
    /// Whatever KVM refuses.
    pub fn registers(&self) -> Result<Vec<RegId>, KvmError> {
        Ok(self.file.register_ids()?.into_iter().map(RegId).collect())
    }

    /// Reads everything there is. An access that the last run reported is completed first. No other vCPU may be running.
    ///
    /// # Errors
    ///
    /// [`KvmError::Unfinished`] before all vCPUs exist, and whatever KVM refuses.
    pub fn whole_state(&mut self) -> Result<VcpuState, KvmError> {
        self.settle()?;
        let gic = self.machine.gic()?.vcpu_state(self.index)?;
        self.read_all(gic)
    }

    /// Replaces everything there is, except registers that only tell the time ([`RegId::is_clock`]). No other vCPU may be
    /// running.
    ///
    /// Registers are written where they differ: some can be read and not written, and then they have the same value in
    /// every state of this vCPU. One that `state` lacks keeps its value.
    ///
    /// # Errors
    ///
    /// [`KvmError::ForeignState`] when `state` has a register that this vCPU does not have; [`KvmError::Unfinished`];
    /// whatever KVM refuses.
    pub fn set_whole_state(&mut self, state: &VcpuState) -> Result<(), KvmError> {
        self.settle()?;
        self.replace(state, |_| true)
    }

    /// Reads one register.
    ///
    /// # Errors
    ///
    /// [`KvmError::GetRegister`] when there is no such register.
    pub fn register(&mut self, register: RegId) -> Result<RegValue, KvmError> {
        self.settle()?;
        self.read(register)
    }

    /// Writes one register.
    ///
    /// # Errors
    ///
    /// [`KvmError::State`] when the value has another size than the register, [`KvmError::SetRegister`] when there is no
    /// such register or KVM refuses the value.
    pub fn set_register(&mut self, register: RegId, value: &RegValue) -> Result<(), KvmError> {
        self.settle()?;
        value.check(register).map_err(StateError::from)?;
        self.write(register, value)
    }

    pub(super) fn read(&self, register: RegId) -> Result<RegValue, KvmError> {
        let mut value = RegValue::zero(register);
        self.file
            .fd()
            .get_one_reg(register.0, value.bytes_mut())
            .map_err(|error| KvmError::GetRegister {
                register,
                source: error.into(),
            })?;
        Ok(value)
    }

    /// Writes a value that has the register's size.
    pub(super) fn write(&self, register: RegId, value: &RegValue) -> Result<(), KvmError> {
        self.file
            .fd()
            .set_one_reg(register.0, value.bytes())
            .map_err(|error| KvmError::SetRegister {
                register,
                source: error.into(),
            })?;
        Ok(())
    }

    /// Reads everything but the interrupt controller's part, which is `gic`.
    pub(super) fn read_all(&self, gic: GicState) -> Result<VcpuState, KvmError> {
        let activity = self
            .file
            .fd()
            .get_mp_state()
            .map_err(refused("KVM_GET_MP_STATE"))?;
        let events = self
            .file
            .fd()
            .get_vcpu_events()
            .map_err(refused("KVM_GET_VCPU_EVENTS"))?;
        Ok(VcpuState {
            registers: self.read_registers()?,
            activity: Activity(activity.mp_state),
            events: Events {
                serror_pending: events.exception.serror_pending != 0,
                serror_esr: (events.exception.serror_has_esr != 0).then_some(events.exception.serror_esr),
            },
            gic,
        })
    }

    fn read_registers(&self) -> Result<BTreeMap<RegId, RegValue>, KvmError> {
        self.registers()?
            .into_iter()
            .map(|register| Ok((register, self.read(register)?)))
            .collect()
    }

    /// Makes the vCPU's state `state`, as far as `is_wanted` says for its registers.
    pub(super) fn replace(
        &mut self,
        state: &VcpuState,
        is_wanted: impl Fn(RegId) -> bool,
    ) -> Result<(), KvmError> {
        let gic = self.machine.gic()?;
        let current = self.read_registers()?;
        for (&register, value) in &state.registers {
            match current.get(&register) {
                None => return Err(KvmError::ForeignState { register }),
                Some(found) if found == value || register.is_clock() || !is_wanted(register) => {}
                Some(_) => {
                    value.check(register).map_err(StateError::from)?;
                    self.write(register, value)?;
                }
            }
        }
        gic.set_vcpu_state(self.index, &state.gic)?;
        let mut events = kvm_vcpu_events::default();
        events.exception.serror_pending = state.events.serror_pending.into();
        events.exception.serror_has_esr = state.events.serror_esr.is_some().into();
        events.exception.serror_esr = state.events.serror_esr.unwrap_or_default();
        self.file
            .fd()
            .set_vcpu_events(&events)
            .map_err(refused("KVM_SET_VCPU_EVENTS"))?;
        let activity = kvm_mp_state {
            mp_state: state.activity.0,
        };
        self.file
            .fd()
            .set_mp_state(activity)
            .map_err(refused("KVM_SET_MP_STATE"))
    }
}
