//! Errors of the fake hypervisor.

use boot_core::{Arch, CpuArchError};

use crate::Operation;

/// Failure of an operation of the fake hypervisor.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FakeError {
    /// Failure requested with `fail_at`.
    #[error("injected failure of operation {number} ({operation})")]
    Injected {
        /// Number of the operation, counted from 0.
        number: usize,
        /// The operation.
        operation: Operation,
    },
    /// The vCPU exists already.
    #[error("vCPU {index} exists already")]
    VcpuExists {
        /// The vCPU.
        index: u32,
    },
    /// The slot is in use.
    #[error("RAM slot {slot} is in use")]
    SlotInUse {
        /// The slot.
        slot: u32,
    },
    /// The slot is not in use.
    #[error("RAM slot {slot} is not in use")]
    SlotNotInUse {
        /// The slot.
        slot: u32,
    },
    /// The RAM overlaps another slot.
    #[error("RAM slot {slot} would overlap slot {other}")]
    SlotOverlap {
        /// The new slot.
        slot: u32,
        /// The slot it overlaps.
        other: u32,
    },
    /// The slot has no dirty log.
    #[error("RAM slot {slot} has no dirty log")]
    NoDirtyLog {
        /// The slot.
        slot: u32,
    },
    /// The machine has no interrupt lines.
    #[error("interrupt line {line} does not exist: the machine is bare")]
    NoIrq {
        /// The line.
        line: u32,
    },
    /// Debuggers have no registers of this architecture.
    #[error("there is no set of {arch} registers for debuggers")]
    NoRegisters {
        /// The machine's architecture.
        arch: Arch,
    },
    /// The state belongs to another architecture.
    #[error("the CPU state is for {found}, but the vCPU is {expected}")]
    ArchMismatch {
        /// The machine's architecture.
        expected: Arch,
        /// The state's architecture.
        found: Arch,
    },
}

impl From<CpuArchError> for FakeError {
    fn from(CpuArchError { expected, found }: CpuArchError) -> Self {
        Self::ArchMismatch { expected, found }
    }
}
