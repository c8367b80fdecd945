//! Defects that leave a partition table usable.

use core::fmt;

use boot_core::ReadError;

use super::error::GptError;
use super::mbr::MAX_LOGICAL;

/// A defect of a partition table that leaves it usable.
#[derive(Debug)]
#[non_exhaustive]
pub enum TableWarning {
    /// The primary GPT is invalid; the partitions are those of the backup.
    BackupUsed {
        /// Defect of the primary GPT.
        primary: GptError,
    },
    /// The MBR of a GPT has other partitions, too, which are not listed.
    HybridMbr,
    /// The last block of a partition is before its first one. The partition is not listed.
    Reversed {
        /// Number of the partition.
        number: u32,
        /// Its first block.
        first_block: u64,
        /// Its last block.
        last_block: u64,
    },
    /// A partition ends past the end of the disk. It is not listed.
    PastEnd {
        /// Number of the partition.
        number: u32,
        /// Its last block.
        last_block: u64,
        /// Number of blocks of the disk.
        block_count: u64,
    },
    /// A partition has blocks outside `FirstUsableLBA` to `LastUsableLBA` of the GPT header.
    OutsideUsable {
        /// Number of the partition.
        number: u32,
        /// `FirstUsableLBA`.
        first_usable: u64,
        /// `LastUsableLBA`.
        last_usable: u64,
    },
    /// Two partitions share blocks.
    Overlap {
        /// Number of the partition that begins first.
        first: u32,
        /// Number of the other partition.
        second: u32,
    },
    /// The list of logical partitions ends early.
    LogicalPartitions {
        /// Block of the extended boot record.
        block: u64,
        /// Reason.
        defect: ChainDefect,
    },
}

/// Reason why the list of logical partitions ends early.
#[derive(Debug)]
#[non_exhaustive]
pub enum ChainDefect {
    /// The extended boot record could not be read.
    Read(ReadError),
    /// The record has no signature 0xaa55.
    NoSignature,
    /// The link leads out of the extended partition.
    Outside,
    /// The link leads to a record that was read before.
    Cycle,
    /// There are more than [`MAX_LOGICAL`] records.
    TooMany,
}

impl fmt::Display for TableWarning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BackupUsed { primary } => {
                write!(
                    f,
                    "the backup GPT is used, because the primary one is invalid: {primary}"
                )
            }
            Self::HybridMbr => write!(f, "partitions of the MBR beside the GPT are not listed"),
            Self::Reversed {
                number,
                first_block,
                last_block,
            } => write!(
                f,
                "partition {number} ends at block {last_block}, before its first block {first_block}; it is not listed"
            ),
            Self::PastEnd {
                number,
                last_block,
                block_count,
            } => write!(
                f,
                "partition {number} ends at block {last_block}, but the disk has {block_count} blocks; it is not listed"
            ),
            Self::OutsideUsable {
                number,
                first_usable,
                last_usable,
            } => write!(
                f,
                "partition {number} is not within the blocks {first_usable} to {last_usable}, which partitions may use"
            ),
            Self::Overlap { first, second } => write!(f, "partitions {first} and {second} overlap"),
            Self::LogicalPartitions { block, defect } => {
                write!(
                    f,
                    "logical partitions from the extended boot record at block {block} on are not listed: "
                )?;
                match defect {
                    ChainDefect::Read(error) => write!(f, "{error}"),
                    ChainDefect::NoSignature => write!(f, "the record has no signature 0xaa55"),
                    ChainDefect::Outside => write!(f, "the record is outside the extended partition"),
                    ChainDefect::Cycle => write!(f, "the record is part of the list already"),
                    ChainDefect::TooMany => write!(f, "the list has more than {MAX_LOGICAL} records"),
                }
            }
        }
    }
}
