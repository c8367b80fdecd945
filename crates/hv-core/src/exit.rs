//! Why a virtual CPU stopped running guest code.

use std::fmt;

/// Why [`Vcpu::run`](crate::Vcpu::run) returned.
///
/// The accesses borrow the hypervisor's own buffer: an answer to a read is written into `data`, and the guest
/// sees it when the vCPU runs again. Everything that the run loop cannot answer is a [`Fault`], which owns its data.
#[derive(Debug)]
#[non_exhaustive]
pub enum Exit<'a> {
    /// The guest reads an I/O port. `data` holds `data.len() / size` elements, each to be filled in.
    IoRead {
        /// The port.
        port: u16,
        /// Width of one access in bytes: 1, 2 or 4.
        size: u8,
        /// The answer, element by element; longer than `size` for a string instruction.
        data: &'a mut [u8],
    },
    /// The guest writes an I/O port.
    IoWrite {
        /// The port.
        port: u16,
        /// Width of one access in bytes: 1, 2 or 4.
        size: u8,
        /// What is written, element by element; longer than `size` for a string instruction.
        data: &'a [u8],
    },
    /// The guest reads memory that no RAM slot backs.
    MmioRead {
        /// Guest physical address.
        address: u64,
        /// The answer, to be filled in.
        data: &'a mut [u8],
    },
    /// The guest writes memory that no RAM slot backs.
    MmioWrite {
        /// Guest physical address.
        address: u64,
        /// What is written.
        data: &'a [u8],
    },
    /// The guest waits for an interrupt that the hypervisor does not model itself.
    Halt,
    /// The guest asked its firmware interface (PSCI, SBI) for something that concerns the whole machine.
    System(SystemEvent),
    /// Nothing happened in the guest: somebody interrupted the vCPU, or it has not been started yet.
    Interrupted,
    /// The vCPU cannot go on.
    Fault(Fault),
}

/// What a guest asked of the machine as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SystemEvent {
    /// Power off.
    PowerOff,
    /// Reset.
    Reset,
    /// The guest declares that it crashed.
    Crash,
    /// Any other kind, by the hypervisor's own number.
    Other(u32),
}

/// Which address space an access goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Space {
    /// x86 I/O ports, 0 to 0xffff.
    Pio,
    /// Guest physical addresses.
    Mmio,
}

/// The direction of an access, seen from the guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// The guest reads.
    Read,
    /// The guest writes.
    Write,
}

/// One access to a device address, without its data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Access {
    /// Address space.
    pub space: Space,
    /// Direction.
    pub direction: Direction,
    /// First address.
    pub address: u64,
    /// Length in bytes.
    pub len: usize,
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            space,
            direction,
            address,
            len,
        } = self;
        let direction = match direction {
            Direction::Read => "read of",
            Direction::Write => "write to",
        };
        match space {
            Space::Pio => write!(f, "{len}-byte {direction} I/O port {address:#06x}"),
            Space::Mmio => write!(f, "{len}-byte {direction} guest physical address {address:#x}"),
        }
    }
}

/// A reason why a vCPU cannot go on, with everything the hypervisor told about it.
///
/// `Display` is one sentence that names the values a person needs to look further.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// The CPU shut down; on x86 that is a triple fault.
    Shutdown,
    /// The hypervisor gave up.
    InternalError {
        /// The hypervisor's number for the reason.
        suberror: u32,
        /// What that number means, where it is known.
        meaning: Option<&'static str>,
        /// The address of the instruction, where it could be read.
        pc: Option<u64>,
        /// The bytes of the instruction, where the hypervisor gave them.
        instruction: Vec<u8>,
        /// Further data, in the hypervisor's own layout.
        data: Vec<u64>,
    },
    /// The hardware refused to enter the guest with this state.
    EntryFailed {
        /// The hardware's own reason: a VMX exit reason or an SVM exit code.
        reason: u64,
        /// The host CPU on which it happened.
        cpu: u32,
    },
    /// Guest memory could not be accessed on the host's side.
    MemoryFault {
        /// Guest physical address.
        address: u64,
        /// Length in bytes.
        len: u64,
        /// The hypervisor's flags for the access.
        flags: u64,
    },
    /// A debug event that nobody asked for.
    Debug {
        /// The address of the instruction.
        pc: u64,
        /// The exception number, in the architecture's own numbering.
        exception: u32,
    },
    /// The guest accessed an address that neither RAM nor a device has, and the policy is to stop then.
    Unclaimed(Access),
    /// The guest accessed a device with an instruction that the hardware does not take apart for hypervisors: a load or
    /// store of two registers, of a vector register, or with write-back.
    Undecoded {
        /// Guest physical address.
        address: u64,
        /// The direction.
        direction: Direction,
        /// What the hardware tells about the access, in its own layout.
        syndrome: u64,
    },
    /// The guest declared through its firmware interface that it crashed, or asked for what the harness cannot do.
    System(SystemEvent),
    /// An exit that this harness does not handle.
    Unsupported {
        /// The hypervisor's number of the exit reason.
        reason: u32,
        /// Its name, where it is known.
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
                write!(f, "the hypervisor gave up with suberror {suberror}")?;
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
                "the hardware of host CPU {cpu} refused to enter the guest, reason {reason:#x}; the vCPU's state is \
                 not one this CPU accepts"
            ),
            Self::MemoryFault { address, len, flags } => write!(
                f,
                "guest memory at {address:#x}, {len:#x} bytes, cannot be accessed on the host (flags {flags:#x})"
            ),
            Self::Debug { pc, exception } => {
                write!(f, "debug exception {exception} at instruction address {pc:#x}, which nobody asked for")
            }
            Self::Unclaimed(access) => write!(f, "{access}, where there is neither RAM nor a device"),
            Self::Undecoded { address, direction, syndrome } => write!(
                f,
                "the guest accesses guest physical address {address:#x}, which is not RAM, with an instruction that \
                 the hardware does not take apart ({direction:?}, syndrome {syndrome:#x}); a device needs plain loads and \
                 stores of one general-purpose register"
            ),
            Self::System(SystemEvent::Crash) => f.write_str("the guest reported that it crashed"),
            Self::System(event) => write!(f, "the guest asked for {event:?}, which this harness cannot do"),
            Self::Unsupported { reason, name } => {
                write!(f, "the hypervisor stopped the vCPU with reason {reason}")?;
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
            Fault::Undecoded {
                address: 0x900_0000,
                direction: Direction::Write,
                syndrome: 0x46,
            },
            &["0x9000000", "Write", "0x46"],
        );
        check(
            Fault::Debug {
                pc: 0x7c00,
                exception: 3,
            },
            &["0x7c00", "3"],
        );
        let access = Access {
            space: Space::Pio,
            direction: Direction::Read,
            address: 0x60,
            len: 1,
        };
        check(Fault::Unclaimed(access), &["1-byte read of I/O port 0x0060"]);
        let access = Access {
            space: Space::Mmio,
            direction: Direction::Write,
            address: 0xd000_0000,
            len: 4,
        };
        check(
            Fault::Unclaimed(access),
            &["4-byte write to guest physical address 0xd0000000"],
        );
    }
}
