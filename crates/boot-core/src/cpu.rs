//! Entry states of virtual CPUs, for every architecture.
//!
//! A boot protocol specifies the registers at the first instruction of the kernel. A protocol crate computes a
//! [`CpuState`], and the VMM sets the registers of the vCPU from it. The states are plain data: they can be compared,
//! printed and tested on a host of any architecture.

pub mod aarch64;
pub mod riscv64;
pub mod x86_64;

use alloc::boxed::Box;

use crate::Arch;

/// The entry state of one virtual CPU.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
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
    use super::*;
    use crate::Endian;

    #[test]
    fn a_state_has_its_architecture_and_entry() {
        let check = |state: CpuState, arch, entry| assert_eq!((state.arch(), state.entry()), (arch, entry));
        let mut real_mode = x86_64::State::protected_mode(0x200, 8, 16);
        check(real_mode.clone().into(), Arch::X86_64, 0x200);
        real_mode.cs.base = 0x1_0000;
        check(real_mode.into(), Arch::X86_64, 0x1_0200);
        check(aarch64::State::new(0x4000).into(), Arch::Aarch64, 0x4000);
        check(riscv64::State::new(0x8000).into(), Arch::Riscv64, 0x8000);
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
