//! Access to registers and saved states.

use super::KvmVcpu;
use crate::{KvmError, Register, RegisterGroup, RegisterValue, VcpuState, kvm::one_reg};

impl KvmVcpu {
    /// Registers of this vCPU, in ascending order of the ids.
    #[must_use]
    pub fn registers(&self) -> &[Register] {
        &self.registers
    }

    /// Whether this vCPU has `register`.
    #[must_use]
    pub fn has(&self, register: Register) -> bool {
        self.registers.binary_search(&register).is_ok()
    }

    /// Saves the whole state of the vCPU. Completes the I/O of the last exit first.
    ///
    /// With the D extension, the state contains the registers of D and not those of F, which are aliases.
    ///
    /// # Errors
    ///
    /// Errors of KVM.
    pub fn save_state(&mut self) -> Result<VcpuState, KvmError> {
        self.complete_io()?;
        let registers = self
            .saved()
            .map(|register| Ok((register, self.read(register)?)))
            .collect::<Result<_, KvmError>>()?;
        Ok(VcpuState {
            mp_state: self.read_mp_state()?,
            registers,
            imsic: self.machine.imsic(self.index)?,
        })
    }

    /// Restores a saved state, except time counters ([`Register::is_time_counter`]).
    ///
    /// Only registers that differ are written: some are read-only, or read-only after the first run, and have the same value
    /// in every state of this vCPU. Registers that `state` does not contain keep their values.
    ///
    /// A timer that was armed is armed again. On hosts without Sstc, Linux then raises one timer interrupt before the set time.
    ///
    /// # Errors
    ///
    /// [`KvmError::MissingRegister`] and [`KvmError::NoImsic`] when `state` contains a register that this vCPU does not have;
    /// [`KvmError::SetRegister`] for a value that KVM does not accept.
    pub fn restore_state(&mut self, state: &VcpuState) -> Result<(), KvmError> {
        self.complete_io()?;
        if let Some(&register) = state.registers.keys().find(|&&register| !self.has(register)) {
            return Err(KvmError::MissingRegister { register });
        }
        // A timer that expires during the writes of pending interrupts would set another one.
        self.stop_timer()?;
        for (&register, value) in &state.registers {
            // The timer comes last, see below.
            if register.group() == Some(RegisterGroup::TIMER) {
                continue;
            }
            if self.read(register)? != *value {
                self.write(register, value)?;
            }
        }
        // Linux uses 1 as the compare value when the timer is enabled, so the compare value is written after that.
        for register in [Register::TIMER_STATE, Register::TIMER_COMPARE] {
            if let Some(value) = state.registers.get(&register)
                && self.read(register)? != *value
            {
                self.write(register, value)?;
            }
        }
        self.machine.set_imsic(self.index, &state.imsic)?;
        self.write_mp_state(state.mp_state)?;
        // Pending interrupts are among the registers, but the external interrupt input has the level of the PLIC output.
        self.machine.resend(self.index)
    }

    /// Completes the I/O of the last exit and reads one register.
    ///
    /// # Errors
    ///
    /// [`KvmError::GetRegister`] for a register that does not exist.
    pub fn register(&mut self, register: Register) -> Result<RegisterValue, KvmError> {
        self.complete_io()?;
        self.read(register)
    }

    /// Completes the I/O of the last exit and writes one register.
    ///
    /// # Errors
    ///
    /// [`KvmError::ValueSize`] for a value of the wrong size, [`KvmError::SetRegister`] for a value that KVM does not accept.
    pub fn set_register(&mut self, register: Register, value: &RegisterValue) -> Result<(), KvmError> {
        self.complete_io()?;
        self.write(register, value)
    }

    /// Stops the timer, if it is armed.
    fn stop_timer(&self) -> Result<(), KvmError> {
        let (on, off) = (RegisterValue::from(1_u64), RegisterValue::from(0_u64));
        if !self.has(Register::TIMER_STATE) || self.read(Register::TIMER_STATE)? != on {
            return Ok(());
        }
        match self.write(Register::TIMER_STATE, &off) {
            // The timer expired first.
            Err(KvmError::SetRegister { .. }) if self.read(Register::TIMER_STATE)? == off => Ok(()),
            result => result,
        }
    }

    /// Registers of a saved state.
    fn saved(&self) -> impl Iterator<Item = Register> + '_ {
        let group = |register: &Register| register.group();
        let has_d = self
            .registers
            .iter()
            .any(|r| group(r) == Some(RegisterGroup::FP_D));
        self.registers
            .iter()
            .filter(move |register| !has_d || group(register) != Some(RegisterGroup::FP_F))
            .copied()
    }

    pub(super) fn read(&self, register: Register) -> Result<RegisterValue, KvmError> {
        one_reg::read(self.file.fd(), register)
    }

    pub(super) fn write(&self, register: Register, value: &RegisterValue) -> Result<(), KvmError> {
        one_reg::write(self.file.fd(), register, value)
    }

    /// Queries the list of registers.
    pub(super) fn list(&self) -> Result<Vec<Register>, KvmError> {
        Ok(self.file.register_ids()?.into_iter().map(Register).collect())
    }
}
