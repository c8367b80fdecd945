//! Reports of guests that crashed.

use std::fmt;
use std::mem::size_of;

use boot_core::CpuState;
use hv_core::{Access, AccessKind, AddressSpace, BackEndCall, DebugStop, Fault, SystemEvent, VcpuExit};
use sandbox_abi::{CrashLocation, CrashReason, CrashRecord};
use zerocopy::FromBytes;
use zerocopy::little_endian::U64;

use crate::protocol_error::ProtocolError;

/// Why a guest crashed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CrashKind {
    /// A panic; [`Crash::message`] is its text.
    Panic,
    /// An exception of the CPU, of this vector. [`Registers::fault_address`] and [`Registers::error_code`] have its details.
    Exception {
        /// Number of the vector.
        vector: u64,
    },
    /// An access to a guard: a stack is too small.
    StackOverflow,
    /// The heap has no memory for an allocation.
    OutOfMemory,
    /// The program gave up without a message.
    Abort,
    /// The guest considers a message of the host as wrong.
    Protocol,
    /// The guest wrote more pages since the last restore than its scratch area has.
    OutOfCopies {
        /// Number of pages for copies and page tables: [`SandboxBuilder::scratch`](crate::SandboxBuilder::scratch).
        pages: u64,
    },
    /// A reason that this version does not know.
    Other(u32),
    /// The guest did not send a message: it left the CPU in this way.
    Exit(UnexpectedExit),
}

/// An exit that no working guest makes.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum UnexpectedExit {
    /// An access to an address without memory, to memory that the guest cannot write, or to an I/O port.
    Access(Access),
    /// The guest halted its CPU.
    Halt,
    /// A request that concerns the whole machine.
    System(SystemEvent),
    /// A call of the firmware interface.
    Call(BackEndCall),
    /// A debug exception.
    Debug(DebugStop),
    /// The CPU cannot go on.
    Fault(Fault),
    /// Another exit.
    Other,
}

impl fmt::Display for UnexpectedExit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Access(access) => access.fmt(f),
            Self::Halt => f.write_str("halt"),
            Self::System(event) => event.fmt(f),
            Self::Call(call) => call.fmt(f),
            Self::Debug(stop) => stop.fmt(f),
            Self::Fault(fault) => fault.fmt(f),
            Self::Other => f.write_str("an unknown exit"),
        }
    }
}

impl From<VcpuExit<'_>> for UnexpectedExit {
    fn from(exit: VcpuExit<'_>) -> Self {
        let port = |kind, port: u16, size: u8| {
            Self::Access(Access::new(AddressSpace::Pio, kind, port.into(), size.into()))
        };
        let memory = |kind, address, len| Self::Access(Access::new(AddressSpace::Mmio, kind, address, len));
        match exit {
            VcpuExit::IoRead { port: at, size, .. } => port(AccessKind::Read, at, size),
            VcpuExit::IoWrite { port: at, size, .. } => port(AccessKind::Write, at, size),
            VcpuExit::MmioRead { address, data } => memory(AccessKind::Read, address, data.len()),
            VcpuExit::MmioWrite { address, data } => memory(AccessKind::Write, address, data.len()),
            VcpuExit::Halt => Self::Halt,
            VcpuExit::System(event) => Self::System(event),
            VcpuExit::Call(call) => Self::Call(call),
            VcpuExit::Debug(stop) => Self::Debug(stop),
            VcpuExit::Fault(fault) => Self::Fault(fault),
            _ => Self::Other,
        }
    }
}

/// Registers of a guest that crashed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Registers {
    /// Address of the instruction.
    pub pc: u64,
    /// Stack pointer.
    pub sp: u64,
    /// Frame pointer.
    pub fp: u64,
    /// Return address in a register: `X30` or `ra`; 0 on x86_64.
    pub link: u64,
    /// Address of the access that failed: `CR2`, `FAR_EL1` or `stval`.
    pub fault_address: u64,
    /// Error code, `ESR_EL1` or `scause`.
    pub error_code: u64,
    /// `RFLAGS`, `SPSR_EL1` or `sstatus`.
    pub status: u64,
    /// General registers, in the order of [`CrashRecord::general`].
    pub general: [u64; 32],
}

/// Position in the source of a guest.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Location {
    /// Name of the file.
    pub file: String,
    /// Line, from 1.
    pub line: u32,
    /// Column, from 1; 0 if it is not known.
    pub column: u32,
}

impl Location {
    /// The position in `file`.
    #[must_use]
    pub fn new(file: impl Into<String>, line: u32, column: u32) -> Self {
        let file = file.into();
        Self { file, line, column }
    }
}

/// One call on the stack of a guest.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Frame {
    /// Address of the instruction; for callers, the return address.
    pub address: u64,
    /// Name of the function, if a [`Symbolizer`] found it.
    pub function: Option<String>,
    /// Position in the source, if a [`Symbolizer`] found it.
    pub location: Option<Location>,
}

impl Frame {
    /// A frame of which only the address is known.
    #[must_use]
    pub const fn new(address: u64) -> Self {
        Self {
            address,
            function: None,
            location: None,
        }
    }
}

/// Finds the names of functions and the positions of addresses of a guest.
pub trait Symbolizer: Send + Sync {
    /// Sets function and location of frames, as far as they are known. The first frame is the instruction of the crash; the address of each
    /// other one is behind the instruction of its call. Where functions were inlined, frames with the same address are inserted, the
    /// innermost function first.
    fn symbolize(&self, frames: &mut Vec<Frame>);
}

/// Report of a guest that crashed. All of it comes from the guest, so nothing in it can be trusted.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Crash {
    /// Why it crashed.
    pub kind: CrashKind,
    /// Text of a panic; empty without one.
    pub message: String,
    /// Position of a panic.
    pub location: Option<Location>,
    /// Registers at the time of the crash.
    pub registers: Registers,
    /// Calls on the stack, the innermost first, found by frame pointers.
    pub backtrace: Vec<Frame>,
}

impl Crash {
    /// Whether the guest left the CPU without a message.
    #[must_use]
    pub fn is_exit(&self) -> bool {
        matches!(self.kind, CrashKind::Exit(_))
    }

    /// The report in the body of a message.
    pub(crate) fn from_record(body: &[u8]) -> Result<Self, ProtocolError> {
        let short = || ProtocolError::CrashRecord { len: body.len() };
        let (record, rest) = CrashRecord::read_from_prefix(body).ok().ok_or_else(short)?;
        let text = usize::try_from(record.message_len.get()).ok();
        let (text, rest) = text
            .and_then(|len| rest.split_at_checked(len))
            .ok_or_else(short)?;
        let kind = match record.reason {
            CrashReason::PANIC => CrashKind::Panic,
            CrashReason::EXCEPTION => CrashKind::Exception {
                vector: record.vector.get(),
            },
            CrashReason::OUT_OF_MEMORY => CrashKind::OutOfMemory,
            CrashReason::ABORT => CrashKind::Abort,
            CrashReason::PROTOCOL => CrashKind::Protocol,
            CrashReason::OUT_OF_COPIES => CrashKind::OutOfCopies { pages: 0 },
            other => CrashKind::Other(other.number()),
        };
        let location = match rest {
            [] => None,
            rest => Some(location(rest).ok_or_else(short)?),
        };
        Ok(Self {
            kind,
            message: String::from_utf8_lossy(text).into_owned(),
            location,
            registers: Registers {
                pc: record.pc.get(),
                sp: record.sp.get(),
                fp: record.fp.get(),
                link: record.link.get(),
                fault_address: record.fault_address.get(),
                error_code: record.error_code.get(),
                status: record.status.get(),
                general: record.general.map(U64::get),
            },
            backtrace: Vec::new(),
        })
    }

    /// The report of an exit, with the registers that the hypervisor read.
    pub(crate) fn from_exit(exit: UnexpectedExit, state: Option<&CpuState>) -> Self {
        Self {
            kind: CrashKind::Exit(exit),
            message: String::new(),
            location: None,
            registers: state.map(Registers::from).unwrap_or_default(),
            backtrace: Vec::new(),
        }
    }
}

/// The location at the start of `bytes`.
fn location(bytes: &[u8]) -> Option<Location> {
    let (location, rest) = CrashLocation::read_from_prefix(bytes).ok()?;
    let file = rest.get(..location.file_len.get().into())?;
    Some(Location {
        file: String::from_utf8_lossy(file).into_owned(),
        line: location.line.get(),
        column: location.column.get(),
    })
}

const _: () = assert!(size_of::<CrashRecord>() + size_of::<CrashLocation>() < 4096);

impl From<&CpuState> for Registers {
    fn from(state: &CpuState) -> Self {
        let mut registers = Self::default();
        let mut general = |values: &[u64]| {
            for (to, from) in registers.general.iter_mut().zip(values) {
                *to = *from;
            }
        };
        match state {
            CpuState::X86_64(state) => {
                general(&[
                    state.rax, state.rdx, state.rcx, state.rbx, state.rsi, state.rdi, state.rbp, state.rsp,
                    state.r8, state.r9, state.r10, state.r11, state.r12, state.r13, state.r14, state.r15,
                ]);
                registers.pc = state.rip;
                registers.sp = state.rsp;
                registers.fp = state.rbp;
                registers.fault_address = state.cr2;
                registers.status = state.rflags;
            }
            CpuState::Aarch64(state) => {
                general(&state.x);
                if let Some(sp) = registers.general.last_mut() {
                    *sp = state.sp_el1;
                }
                let [.., fp, link] = state.x;
                registers.pc = state.pc;
                registers.sp = state.sp_el1;
                registers.fp = fp;
                registers.link = link;
                registers.status = state.pstate;
            }
            CpuState::Riscv64(state) => {
                general(&state.x);
                let [_, link, sp, _, _, _, _, _, fp, ..] = state.x;
                registers.pc = state.pc;
                registers.sp = sp;
                registers.fp = fp;
                registers.link = link;
            }
            _ => {}
        }
        registers
    }
}

impl fmt::Display for Crash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            CrashKind::Panic => write!(f, "the guest panicked: {}", self.message)?,
            CrashKind::Exception { vector } => {
                let Registers {
                    error_code,
                    fault_address,
                    ..
                } = self.registers;
                write!(
                    f,
                    "the guest had exception {vector}, error code {error_code:#x}, address {fault_address:#x}"
                )?;
            }
            CrashKind::StackOverflow => write!(f, "the guest's stack is too small")?,
            CrashKind::OutOfMemory => write!(f, "the guest's heap is too small")?,
            CrashKind::Abort => write!(f, "the guest gave up")?,
            CrashKind::Protocol => write!(f, "the guest considers a message of the host as wrong")?,
            CrashKind::OutOfCopies { pages } => write!(
                f,
                "out of scratch pages: the guest wrote more than {pages} pages since the last restore; raise the limit with \
                 `SandboxBuilder::scratch`"
            )?,
            CrashKind::Other(reason) => write!(f, "the guest crashed with reason {reason}")?,
            CrashKind::Exit(exit) => write!(f, "the guest stopped without a message: {exit}")?,
        }
        if let Some(Location { file, line, column }) = &self.location {
            write!(f, ", {file}:{line}:{column}")?;
        }
        write!(f, ", at {:#x}", self.registers.pc)
    }
}

impl std::error::Error for Crash {}
