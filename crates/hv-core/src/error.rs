//! Failures of the host during set-up and runs.

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
        /// Number of the vCPU, RAM slot or interrupt line of the operation; 0 for [`Operation::CreateVm`].
        target: u32,
        /// The back end's error.
        source: E,
    },
    /// A vCPU cannot continue, and the registers for its [`CrashReport`](crate::CrashReport) could not be read.
    CrashState {
        /// Number of the vCPU.
        vcpu: u32,
        /// Reason why the vCPU cannot continue.
        fault: Box<Fault>,
        /// The back end's error.
        source: E,
    },
    /// The host side of a device failed.
    Device {
        /// Number of the vCPU that accessed the device.
        vcpu: u32,
        /// The access.
        access: Access,
        /// The device's error.
        source: DeviceError,
    },
    /// A device could not be added to the bus.
    Bus(BusError),
    /// The thread of a vCPU could not be started.
    Thread {
        /// Number of the vCPU.
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

    /// The operation of the back end that failed; `None` for failures of other parts.
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
            } => {
                let subject = match operation {
                    Operation::CreateVm => return f.write_str("creating the virtual machine failed"),
                    Operation::CreateVcpu => "creating vCPU",
                    Operation::MapRam => "mapping RAM slot",
                    Operation::UnmapRam => "unmapping RAM slot",
                    Operation::SetIrq => "setting interrupt line",
                    Operation::GetState => "reading the registers of vCPU",
                    Operation::SetState => "writing the registers of vCPU",
                    Operation::Reset => "resetting vCPU",
                    Operation::Run => "running vCPU",
                    Operation::DirtyLog => "reading the dirty log of RAM slot",
                    Operation::Capture => "capturing the state of vCPU",
                    Operation::Rewind => "rewinding vCPU",
                    Operation::SetDebug => "setting the breakpoints of vCPU",
                };
                write!(f, "{subject} {target} failed")
            }
            Self::CrashState { vcpu, fault, .. } => {
                write!(
                    f,
                    "vCPU {vcpu} stopped ({fault}), and its registers could not be read"
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failed_operations_are_named_with_their_target() {
        let check = |operation, expected| {
            let error = RunError::Operation {
                operation,
                target: 3,
                source: (),
            };
            assert_eq!(error.to_string(), expected);
            assert_eq!(error.operation(), Some(operation));
        };
        check(Operation::CreateVm, "creating the virtual machine failed");
        check(Operation::MapRam, "mapping RAM slot 3 failed");
        check(Operation::SetIrq, "setting interrupt line 3 failed");
        check(Operation::SetState, "writing the registers of vCPU 3 failed");
        check(Operation::Run, "running vCPU 3 failed");
        check(Operation::DirtyLog, "reading the dirty log of RAM slot 3 failed");
        check(Operation::Capture, "capturing the state of vCPU 3 failed");
        check(Operation::Rewind, "rewinding vCPU 3 failed");
        check(Operation::SetDebug, "setting the breakpoints of vCPU 3 failed");
        let error = RunError::CrashState {
            vcpu: 1,
            fault: Box::new(Fault::System(crate::SystemEvent::Other(4))),
            source: (),
        };
        assert_eq!(
            error.to_string(),
            "vCPU 1 stopped (the guest requested system event 4 of the hypervisor, which this harness does not support), and \
             its registers could not be read"
        );
    }
}
