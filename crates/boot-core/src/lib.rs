#![doc = include_str!("../README.md")]
#![no_std]
#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    warn(
        clippy::arithmetic_side_effects,
        clippy::as_conversions,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        clippy::unwrap_used
    )
)]

extern crate alloc;
#[cfg(any(test, feature = "std"))]
extern crate std;

mod arch;
pub mod cmdline;
pub mod cpu;
pub mod format;
mod guest_memory;
pub mod image;
pub mod linux_x86;
pub mod machine;
pub mod memory_map;
pub mod num;
pub mod place;
pub mod plan;
pub mod protocol;
mod range;
#[cfg(feature = "registry")]
pub mod registry;
pub mod source;

pub use arch::{Arch, Endian};
pub use cmdline::{Cmdline, CmdlineError, CmdlinePart, InitArg, Param};
pub use cpu::CpuState;
pub use format::{DetectError, FormatError, FormatErrorKind, KernelFormat, detect};
pub use guest_memory::{GuestMemory, MemoryError, SliceMemory};
pub use image::{
    Codec, EntryAbi, EntryPoint, ImageBuilder, ImageError, KernelImage, Payload, Placement, Relocation,
    Segment,
};
pub use machine::Machine;
pub use memory_map::{MemoryMap, MemoryMapError, MemoryRegion, RegionKind};
pub use place::{PlacedKernel, PlacementError, Placer};
pub use plan::{BootPlan, Content, Limits, Load, LoadError, PlanBuilder, ProofError, SourceId, Sources};
pub use protocol::{BootProtocol, BootRequest, Module, NoProtocol, PlanError, Unsuitable};
pub use range::{GuestRange, SourceRange};
pub use source::{Backing, ByteSource, ReadError, ReadErrorKind, SizedSource};
