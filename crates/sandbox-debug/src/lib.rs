#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod core_dump;
mod debuggee;
mod error;
mod gdb;
mod memory;
mod step;
mod symbols;
mod target;
#[cfg(test)]
mod testing;
mod unwind;

pub use core_dump::{CoreDump, CoreLimits, CoreSummary};
pub use error::AccessError;
pub use gdb::{GdbError, GdbSession, GdbStream};
pub use memory::{AddressSpace, PhysicalMemory};
pub use symbols::{SourceFrame, SymbolError, SymbolLimits, Symbols};
pub use target::{BreakpointInstruction, DebugTarget, Resume, Stop, TargetError};
pub use unwind::{Frame, MAX_FRAMES, backtrace, unwind};
