//! Registers for debuggers.

use boot_core::Arch;
use hv_core::{GuestRegisters, RegisterAccess, RiscvRegisters};
use hv_kvm::HarnessError;
use kvm_ioctls::VcpuFd;

use super::vcpu::KvmBareVcpu;
use crate::{KvmError, Register, kvm::one_reg, rewind::ImageParts};

/// The registers that every hart has, with their fields; `x0` has no id.
fn numbers(registers: &mut RiscvRegisters) -> impl Iterator<Item = (Register, &mut u64)> {
    let general = (0..).zip(&mut registers.x);
    let general = general.filter_map(|(number, value)| Some((Register::x(number)?, value)));
    general.chain([
        (Register::PC, &mut registers.pc),
        (Register::SATP, &mut registers.satp),
        (Register::SSTATUS, &mut registers.sstatus),
    ])
}

/// The registers of the D extension, with their fields.
fn floats(values: &mut [u64; 32]) -> impl Iterator<Item = (Register, &mut u64)> {
    let values = (0..).zip(values);
    values.filter_map(|(number, value)| Some((Register::f64(number)?, value)))
}

impl KvmBareVcpu {
    fn has_floats(&self) -> bool {
        self.machine.process.layout.parts.contains(ImageParts::FLOAT)
    }
}

impl RegisterAccess for KvmBareVcpu {
    fn read_registers(&mut self) -> Result<GuestRegisters, KvmError> {
        self.finish()?;
        let fd = self.file.fd();
        let mut registers = RiscvRegisters::default();
        for (register, value) in numbers(&mut registers) {
            *value = one_reg::read_number(fd, register)?;
        }
        if self.has_floats() {
            read_floats(fd, &mut registers)?;
        }
        Ok(GuestRegisters::Riscv64(Box::new(registers)))
    }

    /// The privilege mode stays as it is.
    fn write_registers(&mut self, registers: &GuestRegisters) -> Result<(), KvmError> {
        let GuestRegisters::Riscv64(registers) = registers else {
            let (expected, found) = (Arch::Riscv64, registers.arch());
            return Err(HarnessError::ArchMismatch { expected, found }.into());
        };
        self.finish()?;
        let fd = self.file.fd();
        let mut registers = registers.clone();
        for (register, value) in numbers(&mut registers) {
            one_reg::write_number(fd, register, *value)?;
        }
        if self.has_floats() {
            write_floats(fd, &mut registers)?;
        }
        Ok(())
    }
}

fn read_floats(fd: &VcpuFd, registers: &mut RiscvRegisters) -> Result<(), KvmError> {
    let mut fcsr = [0; 4];
    one_reg::read_into(fd, Register::FCSR_D, &mut fcsr)?;
    registers.fcsr = u32::from_le_bytes(fcsr);
    for (register, value) in floats(&mut registers.f) {
        *value = one_reg::read_number(fd, register)?;
    }
    Ok(())
}

fn write_floats(fd: &VcpuFd, registers: &mut RiscvRegisters) -> Result<(), KvmError> {
    one_reg::write_bytes(fd, Register::FCSR_D, &registers.fcsr.to_le_bytes())?;
    for (register, value) in floats(&mut registers.f) {
        one_reg::write_number(fd, register, *value)?;
    }
    Ok(())
}
