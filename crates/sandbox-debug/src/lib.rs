#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod core_dump;
mod error;
mod memory;
mod symbols;
#[cfg(test)]
mod testing;
mod unwind;

pub use core_dump::{CoreDump, CoreLimits, CoreSummary};
pub use error::AccessError;
pub use memory::{AddressSpace, PhysicalMemory};
pub use symbols::{SourceFrame, SymbolError, SymbolLimits, Symbols};
pub use unwind::{Frame, MAX_FRAMES, backtrace};
