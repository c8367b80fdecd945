//! Reasons of exits, for observers.

use std::fmt;

use crate::{Access, AccessKind, AddressSpace, BackEndCall, DebugStop, SystemEvent, VcpuExit};

/// Reason of an exit, with the address or number that it concerns but without its data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum ExitReason {
    /// An access to an address without RAM. The length of a string instruction is that of all its elements.
    Access(Access),
    /// A call that the back end handled.
    Call(BackEndCall),
    /// The doorbell, with its value.
    Doorbell(u64),
    /// A requested debug exception.
    Debug(DebugStop),
    /// [`VcpuExit::Interrupted`].
    Interrupted,
    /// [`VcpuExit::Halt`].
    Halt,
    /// [`VcpuExit::System`].
    System(SystemEvent),
    /// [`VcpuExit::Fault`].
    Fault,
}

impl ExitReason {
    /// The reason of `exit`.
    #[must_use]
    pub fn of(exit: &VcpuExit<'_>) -> Self {
        let access = |space, kind, address, len| Self::Access(Access::new(space, kind, address, len));
        match exit {
            VcpuExit::IoRead { port, data, .. } => {
                access(AddressSpace::Pio, AccessKind::Read, (*port).into(), data.len())
            }
            VcpuExit::IoWrite { port, data, .. } => {
                access(AddressSpace::Pio, AccessKind::Write, (*port).into(), data.len())
            }
            VcpuExit::MmioRead { address, data } => {
                access(AddressSpace::Mmio, AccessKind::Read, *address, data.len())
            }
            VcpuExit::MmioWrite { address, data } => {
                access(AddressSpace::Mmio, AccessKind::Write, *address, data.len())
            }
            VcpuExit::Halt => Self::Halt,
            VcpuExit::System(event) => Self::System(*event),
            VcpuExit::Call(call) => Self::Call(*call),
            VcpuExit::Doorbell(value) => Self::Doorbell(*value),
            VcpuExit::Debug(stop) => Self::Debug(*stop),
            VcpuExit::Interrupted => Self::Interrupted,
            VcpuExit::Fault(_) => Self::Fault,
        }
    }
}

impl fmt::Display for ExitReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Access(access) => access.fmt(f),
            Self::Call(call) => call.fmt(f),
            Self::Doorbell(value) => write!(f, "doorbell with value {value:#x}"),
            Self::Debug(stop) => stop.fmt(f),
            Self::Interrupted => f.pad("interrupted, or not started yet"),
            Self::Halt => f.pad("halt"),
            Self::System(event) => event.fmt(f),
            Self::Fault => f.pad("fault"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{DebugCause, Fault};

    #[test]
    fn every_exit_has_its_reason() {
        let check = |exit: VcpuExit<'_>, expected: &str| {
            assert_eq!(ExitReason::of(&exit).to_string(), expected);
        };
        check(
            VcpuExit::IoRead {
                port: 0x3fd,
                size: 1,
                data: &mut [0],
            },
            "1-byte read of I/O port 0x03fd",
        );
        check(
            VcpuExit::IoWrite {
                port: 0xcf8,
                size: 2,
                data: &[0; 6],
            },
            "6-byte write to I/O port 0x0cf8",
        );
        check(
            VcpuExit::MmioRead {
                address: 0xf_0000,
                data: &mut [0; 8],
            },
            "8-byte read of guest physical address 0xf0000",
        );
        check(
            VcpuExit::MmioWrite {
                address: 0x900_0000,
                data: &[0],
            },
            "1-byte write to guest physical address 0x9000000",
        );
        check(VcpuExit::Halt, "halt");
        check(VcpuExit::Interrupted, "interrupted, or not started yet");
        check(VcpuExit::System(SystemEvent::Reset), "reset");
        check(
            VcpuExit::Call(BackEndCall::Sbi {
                extension: 0x4442_434e,
                function: 0,
            }),
            "SBI call, extension 0x4442434e, function 0",
        );
        check(
            VcpuExit::Call(BackEndCall::Csr { number: 0x15 }),
            "access to CSR 0x015",
        );
        check(VcpuExit::Doorbell(0x6c), "doorbell with value 0x6c");
        let stop = |cause| VcpuExit::Debug(DebugStop::new(0x4000_1000, cause));
        check(
            stop(DebugCause::Step),
            "single step at instruction address 0x40001000",
        );
        check(
            stop(DebugCause::Breakpoint),
            "breakpoint instruction at instruction address 0x40001000",
        );
        check(
            stop(DebugCause::Hardware(3)),
            "hardware breakpoint 3 at instruction address 0x40001000",
        );
        check(
            stop(DebugCause::Other(7)),
            "debug exception 7 at instruction address 0x40001000",
        );
        check(VcpuExit::Fault(Fault::Shutdown), "fault");
    }
}
