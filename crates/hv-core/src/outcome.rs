//! How a run ends.

use std::{error::Error, fmt, io};

use boot_core::CpuState;

use crate::{Access, BusError, DeviceError, Fault, Operation};

/// How a run ended. These are ends that a *guest* or the caller brings about; a failure of the host is a [`RunError`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// The guest powered off.
    PowerOff,
    /// The guest asked for a reset.
    Reset,
    /// The guest wrote this value to a debug-exit device.
    DebugExit(u32),
    /// Every vCPU waits for an interrupt that cannot come.
    Halted,
    /// The deadline passed.
    Deadline,
    /// [`StopHandle::stop`](crate::StopHandle::stop) was called.
    Stopped,
    /// A vCPU cannot go on.
    Crash(Box<CrashReport>),
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PowerOff => f.write_str("the guest powered off"),
            Self::Reset => f.write_str("the guest asked for a reset"),
            Self::DebugExit(code) => write!(f, "the guest ended the run with code {code:#x}"),
            Self::Halted => f.write_str("every vCPU waits for an interrupt that cannot come"),
            Self::Deadline => f.write_str("the guest did not end before its deadline"),
            Self::Stopped => f.write_str("the run was stopped from outside"),
            Self::Crash(report) => report.fmt(f),
        }
    }
}

/// Which vCPU stopped, why, and in what state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CrashReport {
    /// The vCPU.
    pub vcpu: u32,
    /// Why it cannot go on.
    pub fault: Fault,
    /// Its registers at that moment.
    pub state: CpuState,
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

/// The host could not run the guest.
#[derive(Debug)]
#[non_exhaustive]
pub enum RunError<E> {
    /// There is nothing to run.
    NoVcpus,
    /// The hypervisor refused an operation.
    Operation {
        /// What was being done.
        operation: Operation,
        /// The vCPU or the slot it was done to, in the operation's own numbering.
        target: u32,
        /// The back end's error.
        source: E,
    },
    /// A vCPU cannot go on, and then its registers could not be read.
    CrashState {
        /// The vCPU.
        vcpu: u32,
        /// Why it cannot go on.
        fault: Box<Fault>,
        /// Why its registers could not be read.
        source: E,
    },
    /// A device failed on the host's side.
    Device {
        /// The vCPU that accessed it.
        vcpu: u32,
        /// The access.
        access: Access,
        /// The device's error.
        source: DeviceError,
    },
    /// A device could not be put on the bus.
    Bus(BusError),
    /// The host could not start a thread.
    Thread {
        /// The vCPU that was to run on it.
        vcpu: u32,
        /// The host's error.
        source: io::Error,
    },
}

impl<E> RunError<E> {
    /// A machine could not be created, because of `source`.
    #[must_use]
    pub fn create_vm(source: E) -> Self {
        Self::Operation {
            operation: Operation::CreateVm,
            target: 0,
            source,
        }
    }

    /// The hypervisor operation that failed, if it was one.
    #[must_use]
    pub fn operation(&self) -> Option<Operation> {
        match self {
            Self::Operation { operation, .. } => Some(*operation),
            Self::CrashState { .. } => Some(Operation::State),
            Self::Device {
                source: DeviceError::Irq(_),
                ..
            } => Some(Operation::SetIrq),
            Self::NoVcpus | Self::Device { .. } | Self::Bus(_) | Self::Thread { .. } => None,
        }
    }
}

impl<E> fmt::Display for RunError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoVcpus => f.write_str("the machine has no vCPU to run"),
            Self::Operation {
                operation, target, ..
            } => write!(f, "{operation} failed (number {target})"),
            Self::CrashState { vcpu, fault, .. } => {
                write!(
                    f,
                    "vCPU {vcpu} stopped, and reading its registers failed: {fault}"
                )
            }
            Self::Device { vcpu, access, .. } => {
                write!(
                    f,
                    "a device failed on the host's side while vCPU {vcpu} made a {access}"
                )
            }
            Self::Bus(_) => f.write_str("a device could not be put on the bus"),
            Self::Thread { vcpu, .. } => write!(f, "no thread could be started for vCPU {vcpu}"),
        }
    }
}

impl<E: Error + 'static> Error for RunError<E> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::NoVcpus => None,
            Self::Operation { source, .. } | Self::CrashState { source, .. } => Some(source),
            Self::Device { source, .. } => Some(source),
            Self::Bus(source) => Some(source),
            Self::Thread { source, .. } => Some(source),
        }
    }
}

impl<E> From<BusError> for RunError<E> {
    fn from(error: BusError) -> Self {
        Self::Bus(error)
    }
}
