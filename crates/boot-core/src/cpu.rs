//! The state a virtual CPU starts in, as plain data for every architecture.
//!
//! A boot protocol specifies the registers at the first instruction of the kernel. A planner produces a [`CpuState`], and
//! a hypervisor harness applies it. It is plain data, so it can be compared, printed and tested on a host of any
//! architecture.

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
    /// A riscv64 hart in (virtual) supervisor mode.
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
    /// For x86_64 this is the linear address `CS.base + RIP`: protocols map the kernel's entry to the same physical address.
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
