//! Registers of a vCPU as a debugger sees them: general, floating-point and vector registers, and those that translate addresses.

mod aarch64;
mod riscv64;
mod x86_64;

use boot_core::{Arch, CpuArchError, CpuState};

pub use self::{aarch64::AarchRegisters, riscv64::RiscvRegisters, x86_64::X86Registers};
use crate::Vcpu;

/// Registers of a vCPU for debuggers and core dumps.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum GuestRegisters {
    /// Those of x86_64.
    X86_64(Box<X86Registers>),
    /// Those of arm64.
    Aarch64(Box<AarchRegisters>),
    /// Those of riscv64.
    Riscv64(Box<RiscvRegisters>),
}

impl GuestRegisters {
    /// The registers of a vCPU in this state. All that are not part of it are zero, or have their reset values on x86_64. `None` for an
    /// architecture that has no variant here.
    #[must_use]
    pub fn new(state: &CpuState) -> Option<Self> {
        Some(match state {
            CpuState::X86_64(state) => Self::X86_64(Box::new(X86Registers::new(**state))),
            CpuState::Aarch64(state) => Self::Aarch64(Box::new(AarchRegisters::new(state))),
            CpuState::Riscv64(state) => Self::Riscv64(Box::new(RiscvRegisters::new(state))),
            _ => return None,
        })
    }

    /// Replaces the registers that are part of a boot state.
    ///
    /// # Errors
    ///
    /// [`CpuArchError`] if the state is of another architecture.
    pub fn set_cpu_state(&mut self, state: &CpuState) -> Result<(), CpuArchError> {
        let (expected, found) = (self.arch(), state.arch());
        match (self, state) {
            (Self::X86_64(registers), CpuState::X86_64(state)) => registers.cpu = **state,
            (Self::Aarch64(registers), CpuState::Aarch64(state)) => registers.set_state(state),
            (Self::Riscv64(registers), CpuState::Riscv64(state)) => registers.set_state(state),
            _ => return Err(CpuArchError { expected, found }),
        }
        Ok(())
    }

    /// The architecture.
    #[must_use]
    pub fn arch(&self) -> Arch {
        match self {
            Self::X86_64(_) => Arch::X86_64,
            Self::Aarch64(_) => Arch::Aarch64,
            Self::Riscv64(_) => Arch::Riscv64,
        }
    }

    /// Virtual address of the next instruction. The base of `CS` on x86_64 is not part of it; it is 0 in 64-bit mode.
    #[must_use]
    pub fn pc(&self) -> u64 {
        match self {
            Self::X86_64(registers) => registers.cpu.rip,
            Self::Aarch64(registers) => registers.pc,
            Self::Riscv64(registers) => registers.pc,
        }
    }

    /// The current stack pointer.
    #[must_use]
    pub fn stack_pointer(&self) -> u64 {
        match self {
            Self::X86_64(registers) => registers.cpu.rsp,
            Self::Aarch64(registers) => registers.sp(),
            Self::Riscv64(registers) => registers.x[2],
        }
    }

    /// The frame pointer of the procedure call standard: `RBP`, `X29`, `s0`.
    #[must_use]
    pub fn frame_pointer(&self) -> u64 {
        match self {
            Self::X86_64(registers) => registers.cpu.rbp,
            Self::Aarch64(registers) => registers.x[29],
            Self::Riscv64(registers) => registers.x[8],
        }
    }

    /// The registers that are part of a boot state.
    #[must_use]
    pub fn cpu_state(&self) -> CpuState {
        match self {
            Self::X86_64(registers) => registers.cpu.into(),
            Self::Aarch64(registers) => registers.state().into(),
            Self::Riscv64(registers) => registers.state().into(),
        }
    }
}

/// A vCPU whose registers a debugger can read and write.
pub trait RegisterAccess: Vcpu {
    /// Completes the access that the last [`run`](Vcpu::run) reported, if any, and reads the registers.
    ///
    /// # Errors
    ///
    /// Errors of the back end.
    fn read_registers(&mut self) -> Result<GuestRegisters, Self::Error>;

    /// Completes the access that the last [`run`](Vcpu::run) reported, if any, and writes the registers. All registers that are not in
    /// [`GuestRegisters`] keep their values.
    ///
    /// Call [`set_debug`](crate::DebugVcpu::set_debug) afterwards to step from the new instruction address.
    ///
    /// # Errors
    ///
    /// Errors of the back end, among them registers of another architecture, values that the hypervisor does not accept, and an access that
    /// cannot be completed in one step. Some registers may have been written then.
    fn write_registers(&mut self, registers: &GuestRegisters) -> Result<(), Self::Error>;
}

#[cfg(test)]
mod tests {
    use boot_core::cpu::{aarch64, riscv64, x86_64};

    use super::*;

    #[test]
    fn registers_keep_a_boot_state() {
        let mut arm = aarch64::State::new(0x4000);
        arm.x[29] = 0x29;
        arm.sp_el1 = 0x51;
        let mut riscv = riscv64::State::new(0x8000);
        riscv.x[2] = 2;
        riscv.x[8] = 8;
        riscv.satp = 8 << 60 | 0x1234;
        let mut x86 = x86_64::State::long_mode(0x1000, 0x2000, 8, 16);
        x86.rsp = 4;
        x86.rbp = 5;
        for (state, arch, pc, sp, fp) in [
            (CpuState::from(x86), Arch::X86_64, 0x1000, 4, 5),
            (CpuState::from(arm), Arch::Aarch64, 0x4000, 0x51, 0x29),
            (CpuState::from(riscv), Arch::Riscv64, 0x8000, 2, 8),
        ] {
            let mut registers = GuestRegisters::new(&state).unwrap();
            assert_eq!(registers.arch(), arch);
            assert_eq!(
                (
                    registers.pc(),
                    registers.stack_pointer(),
                    registers.frame_pointer()
                ),
                (pc, sp, fp)
            );
            assert_eq!(registers.cpu_state(), state);
            assert_eq!(registers.set_cpu_state(&state), Ok(()));
            assert_eq!(registers.cpu_state(), state);
            let other = match arch {
                Arch::Riscv64 => x86_64::State::reset().into(),
                _ => riscv64::State::new(0).into(),
            };
            let error = registers.set_cpu_state(&other).unwrap_err();
            assert_eq!((error.expected, error.found), (arch, other.arch()));
        }
    }
}
