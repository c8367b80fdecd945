//! Errors of ext4 file systems.

use alloc::boxed::Box;
use core::fmt;

use boot_core::ReadError;
use disk::FsError;

use crate::limits::{MAX_DIRECTORY_LEN, MAX_JOURNAL_ENTRIES, MAX_MAP_BLOCKS, MAX_PIECES};
use crate::raw::MAGIC;

/// Error of an ext2, ext3 or ext4 file system. Offsets are those of the partition.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Ext4Error {
    /// The partition could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The partition has no ext2, ext3 or ext4 file system.
    #[error("the partition has no ext4 file system: s_magic at 0x438 is {found:#x}, expected {MAGIC:#x}")]
    NotExt4 {
        /// The value; 0 if the partition is too short.
        found: u16,
    },
    /// A field of the superblock is wrong.
    #[error(transparent)]
    Superblock(#[from] SuperblockError),
    /// The volume is longer than the partition.
    #[error(
        "the volume has {volume_len} bytes (s_blocks_count), but the partition has {partition_len}; is it truncated?"
    )]
    PartitionTooShort {
        /// Length by the superblock in bytes.
        volume_len: u64,
        /// Length of the partition in bytes.
        partition_len: u64,
    },
    /// The file system has features that are not supported.
    #[error(
        "the file system has the features {bits:#x} (s_feature_incompat at 0x460), which are not supported"
    )]
    Features {
        /// The features that are not supported.
        bits: u32,
    },
    /// An inode is malformed or not supported.
    #[error("inode {inode}: {defect}")]
    Inode {
        /// Its number.
        inode: u32,
        /// Its defect.
        defect: InodeDefect,
    },
    /// The journal is malformed or not supported.
    #[error("the journal cannot be replayed: {0}")]
    Journal(JournalDefect),
}

impl From<Ext4Error> for FsError {
    fn from(error: Ext4Error) -> Self {
        match error {
            Ext4Error::Read(error) => Self::Read(error),
            Ext4Error::NotExt4 { .. }
            | Ext4Error::Features { .. }
            | Ext4Error::Inode {
                defect:
                    InodeDefect::Compressed
                    | InodeDefect::Encrypted
                    | InodeDefect::InlineData
                    | InodeDefect::TooManyPieces
                    | InodeDefect::TooManyMapBlocks
                    | InodeDefect::DirectoryTooLong { .. }
                    | InodeDefect::EscapedData { .. },
                ..
            }
            | Ext4Error::Journal(JournalDefect::Features { .. } | JournalDefect::TooLong) => {
                Self::Unsupported(Box::new(error))
            }
            _ => Self::Malformed(Box::new(error)),
        }
    }
}

/// A field of the superblock has an invalid value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SuperblockError {
    /// The field.
    pub field: Field,
    /// Its value.
    pub found: u64,
}

/// A field of the superblock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Field {
    /// `s_inodes_count`.
    InodesCount,
    /// `s_blocks_count`.
    BlocksCount,
    /// `s_first_data_block`.
    FirstDataBlock,
    /// `s_log_block_size`.
    LogBlockSize,
    /// `s_blocks_per_group`.
    BlocksPerGroup,
    /// `s_inodes_per_group`.
    InodesPerGroup,
    /// `s_inode_size`.
    InodeSize,
    /// `s_desc_size`.
    DescSize,
    /// `s_journal_inum`.
    JournalInum,
}

impl fmt::Display for SuperblockError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, offset, expected) = match self.field {
            Field::InodesCount => (
                "s_inodes_count",
                0x400,
                "at most s_inodes_per_group for each group, and the root directory",
            ),
            Field::BlocksCount => ("s_blocks_count", 0x404, "more than s_first_data_block"),
            Field::FirstDataBlock => ("s_first_data_block", 0x414, "0 or 1"),
            Field::LogBlockSize => ("s_log_block_size", 0x418, "0 to 6"),
            Field::BlocksPerGroup => ("s_blocks_per_group", 0x420, "1 to the number of bits of a block"),
            Field::InodesPerGroup => ("s_inodes_per_group", 0x428, "1 to the number of bits of a block"),
            Field::InodeSize => ("s_inode_size", 0x458, "a power of two from 128 to the block size"),
            Field::DescSize => ("s_desc_size", 0x4fe, "a power of two from 64 to 1024"),
            Field::JournalInum => ("s_journal_inum", 0x4e0, "an inode of the volume"),
        };
        write!(
            f,
            "{name} at {offset:#x} is {:#x}, expected {expected}",
            self.found
        )
    }
}

impl core::error::Error for SuperblockError {}

/// Defect of an inode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InodeDefect {
    /// There is no such inode.
    #[error("the volume has the inodes 1 to {max} only")]
    NoInode {
        /// Highest number.
        max: u32,
    },
    /// The table of its group is outside of the volume.
    #[error("the inode table of its group begins at block {block:#x}, which is outside of the volume")]
    Table {
        /// First block of the table.
        block: u64,
    },
    /// A node of the tree of extents has another magic number, depth or number of entries.
    #[error("a node of the extent tree is malformed: magic {magic:#x}, depth {depth}, {entries} entries")]
    ExtentNode {
        /// `eh_magic`.
        magic: u16,
        /// `eh_depth`.
        depth: u16,
        /// `eh_entries`.
        entries: u16,
    },
    /// An extent begins before the end of its predecessor.
    #[error("the extent of block {block:#x} of the file overlaps its predecessor")]
    ExtentOrder {
        /// First block of the extent in the file.
        block: u32,
    },
    /// Blocks are outside of the volume.
    #[error("{count} blocks from {block:#x} on are outside of the volume")]
    OutsideVolume {
        /// First block.
        block: u64,
        /// Number of blocks.
        count: u64,
    },
    /// The file has more fragments than this crate supports.
    #[error("the file has more than {MAX_PIECES} fragments")]
    TooManyPieces,
    /// The file has more blocks with extents, or numbers of blocks, than this crate supports.
    #[error("the file has more than {MAX_MAP_BLOCKS} blocks with numbers of its blocks")]
    TooManyMapBlocks,
    /// The length is above the largest that numbers of blocks reach.
    #[error("the length {len:#x} is above the largest possible")]
    TooLong {
        /// Length in bytes.
        len: u64,
    },
    /// The directory is longer than this crate supports.
    #[error("the directory has {len:#x} bytes; at most {MAX_DIRECTORY_LEN:#x} are supported")]
    DirectoryTooLong {
        /// Length in bytes.
        len: u64,
    },
    /// An entry of the directory is malformed.
    #[error(
        "the directory entry at {offset:#x} of the directory has the length {rec_len} and a name of {name_len} bytes"
    )]
    DirectoryEntry {
        /// Offset in the directory.
        offset: u64,
        /// `rec_len`.
        rec_len: u32,
        /// `name_len`.
        name_len: u16,
    },
    /// The file is compressed.
    #[error("the file is compressed, which is not supported")]
    Compressed,
    /// The file is encrypted.
    #[error("the file is encrypted, which is not supported")]
    Encrypted,
    /// The data of the file is in its inode.
    #[error("the data is in the inode (inline_data), which is not supported")]
    InlineData,
    /// A block of the file is in the journal, with a part replaced.
    #[error("block {block:#x} is in the journal in escaped form, which is not supported for data")]
    EscapedData {
        /// The block.
        block: u64,
    },
}

/// Defect of a journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JournalDefect {
    /// A field of its superblock is wrong.
    #[error("{field} of its superblock is {found:#x}")]
    Field {
        /// Name of the field.
        field: &'static str,
        /// Its value.
        found: u32,
    },
    /// Features that are not supported.
    #[error("it has the features {bits:#x}, which are not supported")]
    Features {
        /// The features that are not supported.
        bits: u32,
    },
    /// More blocks than this crate supports.
    #[error("it has more than {MAX_JOURNAL_ENTRIES} blocks to replay")]
    TooLong,
}
