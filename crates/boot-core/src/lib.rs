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
pub mod arith;
mod byte_count;
mod constraints;
pub mod cpu;
pub mod format;
mod guest_memory;
mod identify;
pub mod image;
mod initrds;
pub mod machine;
pub mod memory_map;
mod metadata;
mod page_kind;
pub mod placement;
pub mod plan;
mod priority;
pub mod protocol;
mod range;
#[cfg(feature = "registry")]
pub mod registry;
mod request;
#[cfg(feature = "serde")]
mod serialize;
pub mod source;
#[cfg(test)]
mod testing;
mod value;
mod warning;

pub use arch::{Arch, Endian};
#[doc(no_inline)]
pub use boot_cmdline::{Cmdline, CmdlineError, CmdlineRef, RawCmdline};
pub use byte_count::ByteCount;
pub use constraints::{Constraints, Preference};
pub use cpu::{CpuArchError, CpuState};
pub use format::{DetectError, FormatError, FormatErrorKind, KernelFormat, detect};
pub use guest_memory::{GuestMemory, MemoryError, SliceMemory};
pub use identify::{FileKind, identify};
pub use image::{
    Codec, EntryAbi, EntryPoint, ImageBuilder, ImageError, KernelImage, Payload, Placement, Segment,
};
pub use initrds::Initrds;
pub use machine::Machine;
pub use memory_map::{MemoryMap, MemoryMapError, MemoryRegion, RegionKind};
pub use metadata::Metadata;
pub use page_kind::PageKind;
pub use placement::{Obstacle, PlacedAdditional, PlacedKernel, PlacementError, RamAllocator};
pub use plan::{BootFile, BootPlan, Load, LoadContent, LoadError, PlanBuilder, Sources, ValidationError};
pub use priority::Priority;
pub use protocol::{BootProtocol, IncompatibleImage, PlanError, SelectError, Support, SupportLevel};
pub use range::{GuestRange, SourceRange};
pub use request::{
    AdditionalContent, AdditionalLoad, AdditionalPlace, BootRequest, CmdlineCapacityError, FixedAddress,
    Module, RequestCmdlineError, RequestPart,
};
pub use source::{BackingStore, ByteSource, CachedSource, FailedRead, ReadError, ReadErrorKind, SizedSource};
pub use warning::{Warning, WarningDetail};
