//! Outcome of a run.

use std::fmt;

use boot_core::CpuState;

use crate::Fault;

/// Outcome of a run, caused by the guest or by the caller. A failure of the host is a [`RunError`](crate::RunError).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// The guest powered off.
    PowerOff,
    /// The guest requested a reset.
    Reset,
    /// The guest wrote this value to a debug-exit device.
    DebugExit(u32),
    /// Every vCPU ended with [`VcpuExit::Halt`](crate::VcpuExit::Halt).
    Halted,
    /// The deadline passed.
    Deadline,
    /// [`StopHandle::stop`](crate::StopHandle::stop) was called.
    Stopped,
    /// A vCPU cannot continue, for a reason that is a [`Fault`].
    Crash(Box<CrashReport>),
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PowerOff => f.write_str("the guest powered off"),
            Self::Reset => f.write_str("the guest requested a reset"),
            Self::DebugExit(code) => write!(f, "the guest ended the run with code {code:#x}"),
            Self::Halted => f.write_str("every vCPU halted"),
            Self::Deadline => f.write_str("the deadline passed before the guest ended"),
            Self::Stopped => f.write_str("the run was stopped"),
            Self::Crash(report) => report.fmt(f),
        }
    }
}

/// Report of a vCPU that cannot continue: its number, the reason and its registers.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CrashReport {
    /// Number of the vCPU.
    pub vcpu: u32,
    /// Reason why the vCPU cannot continue.
    pub fault: Fault,
    /// Registers of the vCPU at the time of the fault.
    pub state: CpuState,
}

impl CrashReport {
    /// A report for vCPU `vcpu`.
    #[must_use]
    pub const fn new(vcpu: u32, fault: Fault, state: CpuState) -> Self {
        Self { vcpu, fault, state }
    }
}

impl fmt::Display for CrashReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "vCPU {} stopped at {:#x}: {}",
            self.vcpu,
            self.state.entry(),
            self.fault
        )
    }
}
