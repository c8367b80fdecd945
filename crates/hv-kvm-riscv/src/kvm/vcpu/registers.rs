//! Reading and writing registers.

use super::KvmVcpu;
use crate::{Group, KvmError, Register, Value, VcpuState};

impl KvmVcpu {
    /// Every register that this vCPU has, in ascending order of the ids.
    #[must_use]
    pub fn registers(&self) -> &[Register] {
        &self.registers
    }

    /// Whether this vCPU has the register.
    #[must_use]
    pub fn has(&self, register: Register) -> bool {
        self.registers.binary_search(&register).is_ok()
    }

    /// Reads everything there is. An access that the last run reported is completed first.
    ///
    /// Where the vCPU has the D extension, its registers stand for those of the F extension: KVM shows the same memory
    /// under both, and the D extension's view has all of it.
    ///
    /// # Errors
    ///
    /// Whatever KVM refuses.
    pub fn whole_state(&mut self) -> Result<VcpuState, KvmError> {
        self.settle()?;
        let registers = self
            .saved()
            .map(|register| Ok((register, self.read(register)?)))
            .collect::<Result<_, KvmError>>()?;
        Ok(VcpuState {
            activity: self.read_activity()?,
            registers,
            imsic: self.machine.imsic(self.index)?,
        })
    }

    /// Replaces everything there is, except registers that only tell the time ([`Register::is_clock`]).
    ///
    /// Registers that differ are written: some can be read and not written, or written before the first run only, and
    /// have the same value in every state of this vCPU. One that `state` lacks keeps its value.
    ///
    /// A timer that is set comes back set. On a host without Sstc, Linux then interrupts the guest once before its time.
    ///
    /// # Errors
    ///
    /// [`KvmError::ForeignState`] and [`KvmError::NoImsic`] when `state` has a register that this vCPU does not have;
    /// [`KvmError::SetRegister`] when KVM refuses a value.
    pub fn set_whole_state(&mut self, state: &VcpuState) -> Result<(), KvmError> {
        self.settle()?;
        if let Some(&register) = state.registers.keys().find(|&&register| !self.has(register)) {
            return Err(KvmError::ForeignState { register });
        }
        // A timer that expired while the pending interrupts are written would add one to them.
        self.stop_timer()?;
        for (&register, value) in &state.registers {
            // The timer comes last, see below.
            if register.group() == Some(Group::TIMER) {
                continue;
            }
            if self.read(register)? != *value {
                self.write(register, value)?;
            }
        }
        // Linux takes 1 for the time to wait for when the timer is switched on, so the time is written after that.
        for register in [Register::TIMER_STATE, Register::TIMER_COMPARE] {
            if let Some(value) = state.registers.get(&register)
                && self.read(register)? != *value
            {
                self.write(register, value)?;
            }
        }
        self.machine.set_imsic(self.index, &state.imsic)?;
        self.write_activity(state.activity)?;
        // Pending interrupts are among the registers, but the input from outside is a wire and has its own level.
        self.machine.drive(self.index)
    }

    /// Reads one register.
    ///
    /// # Errors
    ///
    /// [`KvmError::GetRegister`] when there is no such register.
    pub fn register(&mut self, register: Register) -> Result<Value, KvmError> {
        self.settle()?;
        self.read(register)
    }

    /// Writes one register.
    ///
    /// # Errors
    ///
    /// [`KvmError::ValueSize`] when the value has not its size, [`KvmError::SetRegister`] when KVM refuses the value.
    pub fn set_register(&mut self, register: Register, value: &Value) -> Result<(), KvmError> {
        self.settle()?;
        self.write(register, value)
    }

    /// Stops the timer, if it runs.
    fn stop_timer(&self) -> Result<(), KvmError> {
        let (on, off) = (Value::from(1_u64), Value::from(0_u64));
        if !self.has(Register::TIMER_STATE) || self.read(Register::TIMER_STATE)? != on {
            return Ok(());
        }
        match self.write(Register::TIMER_STATE, &off) {
            // It expired before it could be stopped.
            Err(KvmError::SetRegister { .. }) if self.read(Register::TIMER_STATE)? == off => Ok(()),
            result => result,
        }
    }

    /// The registers that make up a state.
    fn saved(&self) -> impl Iterator<Item = Register> + '_ {
        let group = |register: &Register| register.group();
        let has_d = self.registers.iter().any(|r| group(r) == Some(Group::FP_D));
        self.registers
            .iter()
            .filter(move |register| !has_d || group(register) != Some(Group::FP_F))
            .copied()
    }

    pub(super) fn read(&self, register: Register) -> Result<Value, KvmError> {
        let mut bytes = vec![0; register.size()];
        self.file
            .fd()
            .get_one_reg(register.0, &mut bytes)
            .map_err(|error| KvmError::GetRegister {
                register,
                source: error.into(),
            })?;
        Ok(Value::from_bytes(bytes))
    }

    pub(super) fn write(&self, register: Register, value: &Value) -> Result<(), KvmError> {
        let (found, expected) = (value.bytes().len(), register.size());
        if found != expected {
            return Err(KvmError::ValueSize {
                register,
                found,
                expected,
            });
        }
        self.file
            .fd()
            .set_one_reg(register.0, value.bytes())
            .map(drop)
            .map_err(|error| KvmError::SetRegister {
                register,
                value: value.clone(),
                source: error.into(),
            })
    }

    /// Asks the kernel which registers there are.
    pub(super) fn list(&self) -> Result<Vec<Register>, KvmError> {
        Ok(self.file.register_ids()?.into_iter().map(Register).collect())
    }
}
