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
#[cfg(test)]
extern crate std;

pub mod block;
mod block_source;
mod extents;
mod file_blocks;
pub mod fs;
pub mod partition;
pub mod partition_types;
mod source_blocks;
mod window;

#[doc(no_inline)]
pub use boot_core::{ByteSource, ReadError, ReadErrorKind, SourceRange};
#[doc(no_inline)]
pub use uguid::{Guid, guid};

pub use block::{BlockDevice, BlockError, BlockErrorKind, BlockSize};
pub use block_source::BlockSource;
pub use extents::{Extent, ExtentError, ExtentSource, Extents};
pub use file_blocks::{FileBlocks, FileBlocksError};
pub use fs::{
    Attributes, DirEntry, DirPosition, FileSystem, FsError, FsInfo, Metadata, Node, NodeId, NodeKind,
    PathError, Timestamp,
};
pub use partition::{
    Partition, PartitionAttributes, PartitionError, PartitionSignature, PartitionTable, PartitionType,
    TableKind, TableWarning, partitions, probe_block_size,
};
pub use source_blocks::SourceBlocks;
pub use window::Window;
