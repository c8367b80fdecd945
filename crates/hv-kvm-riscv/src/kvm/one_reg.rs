//! Access to single registers: `KVM_GET_ONE_REG` and `KVM_SET_ONE_REG`.

use kvm_ioctls::VcpuFd;

use crate::{KvmError, Register, RegisterValue};

/// Reads a register.
pub(super) fn read(fd: &VcpuFd, register: Register) -> Result<RegisterValue, KvmError> {
    let mut bytes = vec![0; register.size()];
    read_into(fd, register, &mut bytes)?;
    Ok(RegisterValue::from_bytes(bytes))
}

/// Reads a register into `bytes`, which has its size.
pub(super) fn read_into(fd: &VcpuFd, register: Register, bytes: &mut [u8]) -> Result<(), KvmError> {
    fd.get_one_reg(register.0, bytes)
        .map(drop)
        .map_err(|error| KvmError::GetRegister {
            register,
            source: error.into(),
        })
}

/// Reads a register of 64 bits.
pub(super) fn read_number(fd: &VcpuFd, register: Register) -> Result<u64, KvmError> {
    let mut bytes = [0; 8];
    read_into(fd, register, &mut bytes)?;
    Ok(u64::from_le_bytes(bytes))
}

/// Writes a register.
pub(super) fn write(fd: &VcpuFd, register: Register, value: &RegisterValue) -> Result<(), KvmError> {
    write_bytes(fd, register, value.bytes())
}

/// Writes a register of 64 bits.
pub(super) fn write_number(fd: &VcpuFd, register: Register, value: u64) -> Result<(), KvmError> {
    write_bytes(fd, register, &value.to_le_bytes())
}

/// Writes the bytes of a register.
pub(super) fn write_bytes(fd: &VcpuFd, register: Register, value: &[u8]) -> Result<(), KvmError> {
    let (found, expected) = (value.len(), register.size());
    if found != expected {
        return Err(KvmError::ValueSize {
            register,
            found,
            expected,
        });
    }
    fd.set_one_reg(register.0, value)
        .map(drop)
        .map_err(|error| KvmError::SetRegister {
            register,
            value: RegisterValue::from_bytes(value.to_vec()),
            source: error.into(),
        })
}

/// The program counter, for messages.
pub(super) fn pc(fd: &VcpuFd) -> Option<u64> {
    read_number(fd, Register::PC).ok()
}
