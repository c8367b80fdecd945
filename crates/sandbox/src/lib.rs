#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]
#![cfg(target_os = "linux")]

mod backend;
mod base;
mod builder;
mod call_slot;
mod contents;
mod control;
mod copies;
mod copy_on_write;
#[cfg(feature = "core-dump")]
mod core_dump;
mod crash;
#[cfg(any(feature = "core-dump", feature = "debug"))]
mod crash_registers;
mod deadline;
#[cfg(feature = "debug")]
mod debug;
#[cfg(feature = "debug")]
mod debugger;
#[cfg(feature = "symbols")]
mod elf_symbols;
mod encode;
mod engine;
mod error;
mod file_truncated;
mod function;
mod host_function;
mod image;
mod incoming;
mod interrupt;
mod limits;
mod log;
mod map;
mod mapping;
mod mapping_error;
mod mappings;
mod memory;
mod memory_error;
mod page_table_error;
mod pool;
mod program;
mod program_bytes;
mod protocol_error;
mod requirements;
mod rewind;
mod sandbox;
mod shared_region;
mod snapshot;
mod snapshot_file;
mod status;
mod tracker;
mod unwind;
mod waiting;
mod window;

pub use backend::{Backend, Kvm};
#[cfg(feature = "fake")]
pub use backend::{Fake, FakeRam};
pub use builder::{BuildError, SandboxBuilder};
pub use control::ControlError;
pub use copy_on_write::CopyOnWrite;
#[cfg(feature = "core-dump")]
pub use core_dump::CoreDumpError;
pub use crash::{Crash, CrashKind, Frame, Location, Registers, Symbolizer, UnexpectedExit};
#[cfg(feature = "debug")]
pub use debug::DebugError;
#[cfg(feature = "symbols")]
pub use elf_symbols::ElfSymbols;
pub use error::{BackendError, CallError, FunctionError, HostError, ResolveError};
pub use file_truncated::FileTruncated;
pub use function::{Function, FunctionInfo};
pub use host_function::{HostCall, HostFunction};
pub use interrupt::InterruptHandle;
pub use log::LogRecord;
pub use mapping::{FileOptions, Mapping, RegionAccess};
pub use mapping_error::{MapError, UnmapError};
pub use memory_error::MemoryFileError;
pub use page_table_error::PageTableError;
pub use pool::{Pool, Pooled};
#[cfg(feature = "fake")]
pub use program::FakeProgram;
pub use program::{ElfError, GuestProgram, ProgramError};
pub use protocol_error::ProtocolError;
pub use sandbox::{CallOptions, MemoryUse, Sandbox};
#[cfg(feature = "debug")]
pub use sandbox_debug::GdbStream;
#[cfg(feature = "core-dump")]
pub use sandbox_debug::{CoreLimits, CoreSummary};
pub use shared_region::SharedRegion;
pub use snapshot::{RestoreError, Snapshot, SnapshotError};
pub use snapshot_file::{FileError, LoadOptions, LoadSnapshotError, SaveSnapshotError};
pub use status::{Cause, Status};
