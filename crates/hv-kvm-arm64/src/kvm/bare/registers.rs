//! Registers for debuggers.

use hv_core::{AarchRegisters, GuestRegisters, RegisterAccess};
use hv_kvm::HarnessError;

use super::vcpu::KvmBareVcpu;
use crate::{KvmError, Register, RegisterValue, kvm::entry::VcpuEntry};

/// The registers that a debugger sees and a boot state does not have, with their fields.
fn system(registers: &mut AarchRegisters) -> [(Register, &mut u64); 6] {
    [
        (Register::SP_EL0, &mut registers.sp_el0),
        (Register::SCTLR_EL1, &mut registers.sctlr_el1),
        (Register::TCR_EL1, &mut registers.tcr_el1),
        (Register::TTBR0_EL1, &mut registers.ttbr0_el1),
        (Register::TTBR1_EL1, &mut registers.ttbr1_el1),
        (Register::TPIDR_EL0, &mut registers.tpidr_el0),
    ]
}

/// The floating-point control and status registers, with their fields.
fn control(registers: &mut AarchRegisters) -> [(Register, &mut u32); 2] {
    [
        (Register::FPSR, &mut registers.fpsr),
        (Register::FPCR, &mut registers.fpcr),
    ]
}

/// `V0` to `V31`, in order.
fn vectors() -> impl Iterator<Item = Register> {
    (0..=31).filter_map(Register::v)
}

impl RegisterAccess for KvmBareVcpu {
    fn read_registers(&mut self) -> Result<GuestRegisters, KvmError> {
        self.complete_rewind()?;
        let mut registers = AarchRegisters::new(&self.entry.state()?);
        let entry = &self.entry;
        for (register, value) in system(&mut registers) {
            *value = entry.read_number(register)?;
        }
        for (register, value) in control(&mut registers) {
            let mut bytes = [0; 4];
            entry.read_bytes(register, &mut bytes)?;
            *value = u32::from_le_bytes(bytes);
        }
        for (value, register) in registers.v.iter_mut().zip(vectors()) {
            let mut bytes = [0; 16];
            entry.read_bytes(register, &mut bytes)?;
            *value = u128::from_le_bytes(bytes);
        }
        Ok(GuestRegisters::Aarch64(Box::new(registers)))
    }

    fn write_registers(&mut self, registers: &GuestRegisters) -> Result<(), KvmError> {
        let GuestRegisters::Aarch64(registers) = registers else {
            let (expected, found) = (boot_core::Arch::Aarch64, registers.arch());
            return Err(HarnessError::ArchMismatch { expected, found }.into());
        };
        self.complete_rewind()?;
        self.entry.set_state(&registers.state().into())?;
        let mut registers = registers.clone();
        for (register, value) in system(&mut registers) {
            self.entry.write_number(register, *value)?;
        }
        for (register, value) in control(&mut registers) {
            write(&self.entry, register, (*value).into())?;
        }
        for (value, register) in registers.v.iter().zip(vectors()) {
            write(&self.entry, register, *value)?;
        }
        Ok(())
    }
}

fn write(entry: &VcpuEntry, register: Register, value: u128) -> Result<(), KvmError> {
    let value = RegisterValue::from_number(register, value).ok_or(KvmError::RegisterSize { register })?;
    entry.write(register, &value)
}
