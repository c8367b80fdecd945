//! Exits of a virtual CPU.

use std::fmt;

/// Reason why [`Vcpu::run`](crate::Vcpu::run) returned.
///
/// The accesses borrow the hypervisor's buffer. The result of a read is written into `data`; the guest sees it when the
/// vCPU runs again. Every exit that the run loop cannot handle is a [`Fault`], which owns its data.
#[derive(Debug)]
#[non_exhaustive]
pub enum VcpuExit<'a> {
    /// The guest reads an I/O port: once, or several times with a string instruction.
    IoRead {
        /// The port.
        port: u16,
        /// Width of one read in bytes: 1, 2 or 4.
        size: u8,
        /// Buffer for the results, `size` bytes for each read.
        data: &'a mut [u8],
    },
    /// The guest writes an I/O port: once, or several times with a string instruction.
    IoWrite {
        /// The port.
        port: u16,
        /// Width of one write in bytes: 1, 2 or 4.
        size: u8,
        /// The written bytes, `size` bytes for each write.
        data: &'a [u8],
    },
    /// The guest reads from an address without RAM.
    MmioRead {
        /// Guest physical address.
        address: u64,
        /// Buffer for the result; its length is the width of the access, 1 to 8 bytes.
        data: &'a mut [u8],
    },
    /// The guest writes to an address without RAM.
    MmioWrite {
        /// Guest physical address.
        address: u64,
        /// The written bytes, 1 to 8.
        data: &'a [u8],
    },
    /// The guest halted the vCPU, and the hypervisor has no interrupt controller that can wake it.
    Halt,
    /// The guest made a call to its firmware interface (PSCI, SBI) that concerns the whole machine.
    System(SystemEvent),
    /// The guest made a call that the back end has handled.
    Call(BackEndCall),
    /// The guest rang the doorbell that the machine was configured with. The value is the one that the architecture carries: `EAX` on
    /// x86_64, `a0` on riscv64, 0 on arm64.
    Doorbell(u64),
    /// A debug exception that was requested.
    Debug(DebugStop),
    /// No event for the caller: the vCPU was kicked, received a signal or has not been started yet.
    Interrupted,
    /// The vCPU cannot continue.
    Fault(Fault),
}

/// A requested debug exception.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub struct DebugStop {
    /// Address of the instruction that the vCPU executes next; for a [`DebugCause::Breakpoint`], of the breakpoint instruction.
    pub pc: u64,
    /// Cause of the exception.
    pub cause: DebugCause,
}

/// Cause of a requested debug exception.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum DebugCause {
    /// One instruction was executed.
    Step,
    /// A breakpoint instruction: `INT3`, `BRK`, `EBREAK`.
    Breakpoint,
    /// A hardware breakpoint or watchpoint, by its index in the request.
    Hardware(u8),
    /// Another exception: its vector on x86, its class (`ESR_ELx.EC`) on arm64.
    Other(u32),
}

impl DebugStop {
    /// A stop at `pc`.
    #[must_use]
    pub const fn new(pc: u64, cause: DebugCause) -> Self {
        Self { pc, cause }
    }
}

impl fmt::Display for DebugStop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.cause {
            DebugCause::Step => f.write_str("single step")?,
            DebugCause::Breakpoint => f.write_str("breakpoint instruction")?,
            DebugCause::Hardware(index) => write!(f, "hardware breakpoint {index}")?,
            DebugCause::Other(number) => write!(f, "debug exception {number}")?,
        }
        write!(f, " at instruction address {:#x}", self.pc)
    }
}

/// Call of the guest to its firmware interface, or access to a register, that the back end handles without the run loop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum BackEndCall {
    /// riscv64: an SBI call, with its extension id and function id.
    Sbi {
        /// Extension id (register `a7`).
        extension: u64,
        /// Function id (register `a6`).
        function: u64,
    },
    /// riscv64: an access to a control and status register.
    Csr {
        /// Number of the register.
        number: u64,
    },
}

impl fmt::Display for BackEndCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sbi { extension, function } => {
                write!(f, "SBI call, extension {extension:#x}, function {function}")
            }
            Self::Csr { number } => write!(f, "access to CSR {number:#05x}"),
        }
    }
}

/// Request of the guest that concerns the whole machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum SystemEvent {
    /// Power-off: PSCI `SYSTEM_OFF`, SBI system reset of type shutdown.
    PowerOff,
    /// Reset: PSCI `SYSTEM_RESET`, SBI system reset of type reboot.
    Reset,
    /// The guest reports a crash.
    Crash,
    /// Any other request, by the hypervisor's number (on KVM: `KVM_SYSTEM_EVENT_*`).
    Other(u32),
}

impl fmt::Display for SystemEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PowerOff => f.pad("power-off"),
            Self::Reset => f.pad("reset"),
            Self::Crash => f.pad("crash"),
            Self::Other(number) => write!(f, "system event {number} of the hypervisor"),
        }
    }
}

/// Address space of an access.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum AddressSpace {
    /// x86 I/O ports, 0 to 0xffff.
    Pio,
    /// Guest physical addresses.
    Mmio,
}

/// Kind of an access, seen from the guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AccessKind {
    /// The guest reads.
    Read,
    /// The guest writes.
    Write,
}

/// An access to a device address, without its data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub struct Access {
    /// Address space.
    pub space: AddressSpace,
    /// Read or write.
    pub kind: AccessKind,
    /// First address.
    pub address: u64,
    /// Length in bytes.
    pub len: usize,
}

impl fmt::Display for AddressSpace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Pio => "I/O port",
            Self::Mmio => "guest physical address",
        })
    }
}

impl fmt::Display for AccessKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Read => "read",
            Self::Write => "write",
        })
    }
}

impl Access {
    /// An access of `len` bytes at `address`.
    #[must_use]
    pub const fn new(space: AddressSpace, kind: AccessKind, address: u64, len: usize) -> Self {
        Self {
            space,
            kind,
            address,
            len,
        }
    }
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            space,
            kind,
            address,
            len,
        } = self;
        let kind = match kind {
            AccessKind::Read => "read of",
            AccessKind::Write => "write to",
        };
        match space {
            AddressSpace::Pio => write!(f, "{len}-byte {kind} {space} {address:#06x}"),
            AddressSpace::Mmio => write!(f, "{len}-byte {kind} {space} {address:#x}"),
        }
    }
}

/// Reason why a vCPU cannot continue, with all data that the hypervisor reported.
///
/// `Display` is one sentence with the values needed for further diagnosis.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// The CPU entered the shutdown state; on x86, a triple fault.
    Shutdown,
    /// The hypervisor reported an internal error.
    InternalError {
        /// The hypervisor's number of the error: on KVM `KVM_INTERNAL_ERROR_*`, on riscv64 also an `errno` of `KVM_RUN`.
        suberror: u32,
        /// Meaning of that number, if known.
        meaning: Option<&'static str>,
        /// Address of the instruction, if it could be read.
        pc: Option<u64>,
        /// Bytes of the instruction; empty if the hypervisor did not report them.
        instruction: Vec<u8>,
        /// Further data, in the hypervisor's layout.
        data: Vec<u64>,
    },
    /// The host CPU could not enter the guest with the current vCPU state.
    EntryFailed {
        /// Reason of the hardware: a VMX exit reason or an SVM exit code.
        reason: u64,
        /// Number of the host CPU.
        cpu: u32,
    },
    /// The host could not access guest memory.
    MemoryFault {
        /// Guest physical address.
        address: u64,
        /// Length in bytes.
        len: u64,
        /// Flags of the access: `KVM_MEMORY_EXIT_FLAG_*`; on arm64 also the syndrome of the access.
        flags: u64,
    },
    /// A debug exception that the harness did not request.
    Debug {
        /// Address of the instruction.
        pc: u64,
        /// The exception: its vector on x86, its class (`ESR_ELx.EC`) on arm64.
        exception: u32,
    },
    /// The guest rang a doorbell in a run that has no use for it.
    UnexpectedDoorbell {
        /// Value of the doorbell.
        value: u64,
    },
    /// A requested debug exception in a run without a debugger.
    UnexpectedDebug(DebugStop),
    /// The guest made a call to its firmware interface, or accessed a register, that the machine does not have.
    UnexpectedCall(BackEndCall),
    /// The guest accessed an address without RAM and without a device, under
    /// [`UnhandledAccessPolicy::Crash`](crate::UnhandledAccessPolicy::Crash).
    UnhandledAccess(Access),
    /// arm64: the guest accessed an address without RAM with an instruction for which the hardware reports no valid instruction
    /// syndrome: a load or store of two registers, of a vector register, or with write-back.
    NoSyndrome {
        /// Guest physical address.
        address: u64,
        /// Read or write.
        kind: AccessKind,
        /// Syndrome of the access: `ESR_EL2.ISS`.
        syndrome: u64,
    },
    /// The guest reported a crash through its firmware interface, or made a request that the harness does not support.
    System(SystemEvent),
    /// The hypervisor reported an exit reason that the harness does not handle.
    Unsupported {
        /// Number of the exit reason.
        reason: u32,
        /// Name of the exit reason, if known.
        name: Option<&'static str>,
    },
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Shutdown => f.write_str(
                "the CPU shut down (on x86: a triple fault, usually an exception before the guest has a working \
                 interrupt table)",
            ),
            Self::InternalError { suberror, meaning, pc, instruction, data } => {
                write!(f, "the hypervisor reported an internal error, suberror {suberror}")?;
                if let Some(meaning) = meaning {
                    write!(f, " ({meaning})")?;
                }
                if let Some(pc) = pc {
                    write!(f, " at instruction address {pc:#x}")?;
                }
                if !instruction.is_empty() {
                    f.write_str(", instruction bytes")?;
                    for byte in instruction {
                        write!(f, " {byte:02x}")?;
                    }
                }
                if !data.is_empty() {
                    f.write_str(", data")?;
                    for word in data {
                        write!(f, " {word:#x}")?;
                    }
                }
                Ok(())
            }
            Self::EntryFailed { reason, cpu } => write!(
                f,
                "host CPU {cpu} could not enter the guest (hardware reason {reason:#x}): the vCPU state is invalid for this CPU"
            ),
            Self::MemoryFault { address, len, flags } => write!(
                f,
                "the host cannot access {len:#x} bytes of guest memory at {address:#x} (flags {flags:#x})"
            ),
            Self::Debug { pc, exception } => {
                write!(f, "unexpected debug exception {exception} at instruction address {pc:#x}")
            }
            Self::UnexpectedDoorbell { value } => write!(f, "unexpected doorbell with value {value:#x}"),
            Self::UnexpectedDebug(stop) => write!(f, "unexpected {stop}"),
            Self::UnexpectedCall(call) => write!(f, "the machine does not support this: {call}"),
            Self::UnhandledAccess(access) => write!(f, "{access}, which has neither RAM nor a device"),
            Self::NoSyndrome { address, kind, syndrome } => write!(
                f,
                "{kind} at guest physical address {address:#x}, which is not RAM, without a valid instruction syndrome \
                 ({syndrome:#x}); device accesses need loads and stores of one general-purpose register"
            ),
            Self::System(SystemEvent::Crash) => f.write_str("the guest reported a crash"),
            Self::System(event) => write!(f, "the guest requested {event}, which this harness does not support"),
            Self::Unsupported { reason, name } => {
                write!(f, "the hypervisor stopped the vCPU with exit reason {reason}")?;
                if let Some(name) = name {
                    write!(f, " ({name})")?;
                }
                f.write_str(", which this harness does not handle")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_name_their_values() {
        let check = |fault: Fault, parts: &[&str]| {
            let text = fault.to_string();
            for part in parts {
                assert!(text.contains(part), "{text:?} lacks {part:?}");
            }
        };
        check(
            Fault::InternalError {
                suberror: 1,
                meaning: Some("emulation failure"),
                pc: Some(0x10_0000),
                instruction: vec![0xc5, 0xf8],
                data: vec![0x20],
            },
            &["suberror 1", "emulation failure", "0x100000", "c5 f8", "0x20"],
        );
        check(
            Fault::EntryFailed {
                reason: 0x8000_0021,
                cpu: 3,
            },
            &["0x80000021", "CPU 3"],
        );
        check(
            Fault::MemoryFault {
                address: 0x1000,
                len: 0x10,
                flags: 8,
            },
            &["0x1000", "0x10", "0x8"],
        );
        check(
            Fault::Unsupported {
                reason: 40,
                name: None,
            },
            &["reason 40"],
        );
        check(
            Fault::Unsupported {
                reason: 27,
                name: Some("KVM_EXIT_HYPERV"),
            },
            &["27", "KVM_EXIT_HYPERV"],
        );
        check(
            Fault::NoSyndrome {
                address: 0x900_0000,
                kind: AccessKind::Write,
                syndrome: 0x46,
            },
            &["0x9000000", "write", "0x46"],
        );
        check(
            Fault::Debug {
                pc: 0x7c00,
                exception: 3,
            },
            &["0x7c00", "3"],
        );
        check(
            Fault::UnexpectedDoorbell { value: 0x17 },
            &["unexpected", "doorbell", "0x17"],
        );
        check(
            Fault::UnexpectedDebug(DebugStop::new(0x7c00, DebugCause::Hardware(2))),
            &["unexpected", "breakpoint 2", "0x7c00"],
        );
        check(
            Fault::UnexpectedCall(BackEndCall::Sbi {
                extension: 0x0900_0001,
                function: 3,
            }),
            &["not support", "0x9000001", "function 3"],
        );
        let access = Access::new(AddressSpace::Pio, AccessKind::Read, 0x60, 1);
        check(
            Fault::UnhandledAccess(access),
            &["1-byte read of I/O port 0x0060"],
        );
        let access = Access::new(AddressSpace::Mmio, AccessKind::Write, 0xd000_0000, 4);
        check(
            Fault::UnhandledAccess(access),
            &["4-byte write to guest physical address 0xd0000000"],
        );
    }
}
