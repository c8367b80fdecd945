//! Entry states of virtual CPUs, for every architecture.
//!
//! A boot protocol specifies the registers at the first instruction of the kernel. A protocol crate computes a
//! [`CpuState`], and the VMM sets the registers of the vCPU from it. The states are plain data: they can be compared,
//! printed and tested on a host of any architecture.
//!
//! A state can also be made without a plan, for an image that comes with registers, such as an IGVM file: create one with
//! [`x86_64::State::reset`], [`aarch64::State::new`] or [`riscv64::State::new`], and set its fields.

pub mod aarch64;
pub mod riscv64;
pub mod x86_64;

use alloc::boxed::Box;

use crate::Arch;

/// The entry state of one virtual CPU.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "lowercase")
)]
#[non_exhaustive]
pub enum CpuState {
    /// An x86_64 CPU, in any of its modes.
    X86_64(Box<x86_64::State>),
    /// An arm64 CPU at EL1.
    Aarch64(Box<aarch64::State>),
    /// A riscv64 hart in S-mode, or VS-mode under a hypervisor.
    Riscv64(Box<riscv64::State>),
}

impl CpuState {
    /// The architecture this state belongs to.
    #[must_use]
    pub fn arch(&self) -> Arch {
        match self {
            Self::X86_64(_) => Arch::X86_64,
            Self::Aarch64(_) => Arch::Aarch64,
            Self::Riscv64(_) => Arch::Riscv64,
        }
    }

    /// The state of an x86_64 CPU.
    ///
    /// # Errors
    ///
    /// [`CpuArchError`] if it is of another architecture.
    pub fn x86_64(&self) -> Result<&x86_64::State, CpuArchError> {
        match self {
            Self::X86_64(state) => Ok(state),
            _ => Err(self.is_not(Arch::X86_64)),
        }
    }

    /// The state of an arm64 CPU.
    ///
    /// # Errors
    ///
    /// [`CpuArchError`] if it is of another architecture.
    pub fn aarch64(&self) -> Result<&aarch64::State, CpuArchError> {
        match self {
            Self::Aarch64(state) => Ok(state),
            _ => Err(self.is_not(Arch::Aarch64)),
        }
    }

    /// The state of a riscv64 hart.
    ///
    /// # Errors
    ///
    /// [`CpuArchError`] if it is of another architecture.
    pub fn riscv64(&self) -> Result<&riscv64::State, CpuArchError> {
        match self {
            Self::Riscv64(state) => Ok(state),
            _ => Err(self.is_not(Arch::Riscv64)),
        }
    }

    fn is_not(&self, expected: Arch) -> CpuArchError {
        let found = self.arch();
        CpuArchError { expected, found }
    }

    /// The guest physical address of the first instruction.
    ///
    /// For x86_64 this is the linear address `CS.base + RIP`. It is also the physical address: protocols start the kernel
    /// without paging, or with page tables that identity-map the entry.
    #[must_use]
    pub fn entry(&self) -> u64 {
        match self {
            Self::X86_64(state) => state.cs.base.wrapping_add(state.rip),
            Self::Aarch64(state) => state.pc,
            Self::Riscv64(state) => state.pc,
        }
    }
}

/// A CPU state of another architecture than expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the CPU state is for {found}, not for {expected}")]
pub struct CpuArchError {
    /// The expected architecture.
    pub expected: Arch,
    /// The architecture of the state.
    pub found: Arch,
}

impl From<x86_64::State> for CpuState {
    fn from(state: x86_64::State) -> Self {
        Self::X86_64(Box::new(state))
    }
}

impl From<aarch64::State> for CpuState {
    fn from(state: aarch64::State) -> Self {
        Self::Aarch64(Box::new(state))
    }
}

impl From<riscv64::State> for CpuState {
    fn from(state: riscv64::State) -> Self {
        Self::Riscv64(Box::new(state))
    }
}

#[cfg(test)]
mod tests {
    use std::string::ToString;

    use super::*;
    use crate::Endian;

    #[test]
    fn a_state_has_its_architecture_and_entry() {
        let check = |state: CpuState, arch, entry| assert_eq!((state.arch(), state.entry()), (arch, entry));
        let mut real_mode = x86_64::State::protected_mode(0x200, 8, 16);
        check(real_mode.into(), Arch::X86_64, 0x200);
        real_mode.cs.base = 0x1_0000;
        check(real_mode.into(), Arch::X86_64, 0x1_0200);
        check(aarch64::State::new(0x4000).into(), Arch::Aarch64, 0x4000);
        check(riscv64::State::new(0x8000).into(), Arch::Riscv64, 0x8000);
    }

    #[test]
    fn a_state_is_that_of_its_architecture_only() {
        let x86_64 = x86_64::State::reset();
        let (aarch64, riscv64) = (aarch64::State::new(1), riscv64::State::new(2));
        let error = |expected, found| CpuArchError { expected, found };
        let state = CpuState::from(x86_64);
        assert_eq!(state.x86_64(), Ok(&x86_64));
        assert_eq!(state.aarch64(), Err(error(Arch::Aarch64, Arch::X86_64)));
        let state = CpuState::from(aarch64);
        assert_eq!(state.aarch64(), Ok(&aarch64));
        assert_eq!(state.riscv64(), Err(error(Arch::Riscv64, Arch::Aarch64)));
        let state = CpuState::from(riscv64);
        assert_eq!(state.riscv64(), Ok(&riscv64));
        let wrong = state.x86_64().unwrap_err();
        assert_eq!(wrong, error(Arch::X86_64, Arch::Riscv64));
        assert_eq!(wrong.to_string(), "the CPU state is for riscv64, not for x86_64");
    }

    #[test]
    fn new_states_are_zero_but_for_what_is_documented() {
        let state = aarch64::State::new(1);
        assert_eq!((state.x, state.sp_el1, state.pc), ([0; 31], 0, 1));
        assert_eq!((state.pstate, state.data_endian), (0x3c5, Endian::Little));
        let state = riscv64::State::new(2);
        assert_eq!((state.x, state.pc, state.satp), ([0; 32], 2, 0));
    }
}
