//! Failures of the host during a run.

use std::{error::Error, fmt, io};

use crate::{Access, BusError, DeviceError, Fault, Operation};

/// Failure of the host to set up or run the guest.
#[derive(Debug)]
#[non_exhaustive]
pub enum RunError<E> {
    /// The machine has no vCPUs.
    NoVcpus,
    /// An operation of the back end failed.
    Operation {
        /// The operation.
        operation: Operation,
        /// Number of the vCPU, RAM slot or interrupt line; 0 for the virtual machine.
        target: u32,
        /// The back end's error.
        source: E,
    },
    /// A vCPU cannot continue, and its registers could not be read.
    CrashState {
        /// The vCPU.
        vcpu: u32,
        /// Reason why the vCPU cannot continue.
        fault: Box<Fault>,
        /// The back end's error.
        source: E,
    },
    /// The host side of a device failed.
    Device {
        /// The vCPU that accessed it.
        vcpu: u32,
        /// The access.
        access: Access,
        /// The device's error.
        source: DeviceError,
    },
    /// A device could not be added to the bus.
    Bus(BusError),
    /// A thread could not be started.
    Thread {
        /// The vCPU of the thread.
        vcpu: u32,
        /// The host's error.
        source: io::Error,
    },
}

impl<E> RunError<E> {
    /// Failure to create the virtual machine.
    #[must_use]
    pub fn create_vm(source: E) -> Self {
        Self::Operation {
            operation: Operation::CreateVm,
            target: 0,
            source,
        }
    }

    /// The operation of the back end that failed, if one did.
    #[must_use]
    pub fn operation(&self) -> Option<Operation> {
        match self {
            Self::Operation { operation, .. } => Some(*operation),
            Self::CrashState { .. } => Some(Operation::GetState),
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
            Self::NoVcpus => f.write_str("the machine has no vCPUs"),
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
                write!(f, "the host side of a device failed on a {access} by vCPU {vcpu}")
            }
            Self::Bus(_) => f.write_str("a device could not be added to the bus"),
            Self::Thread { vcpu, .. } => write!(f, "the thread of vCPU {vcpu} could not be started"),
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
