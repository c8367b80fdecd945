//! Errors of FAT file systems.

use alloc::boxed::Box;
use core::fmt;

use boot_core::ReadError;
use disk::FsError;

use crate::limits::{MAX_DIRECTORY_LEN, MAX_PIECES};

/// Error of a FAT file system. Offsets are those of the partition.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FatError {
    /// The partition could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The partition has no FAT file system.
    #[error("the partition has no FAT file system: {0}")]
    NotFat(OtherFormat),
    /// A field of the boot sector is wrong.
    #[error(transparent)]
    BootSector(#[from] BootSectorError),
    /// The volume is longer than the partition.
    #[error(
        "the volume has {volume_len} bytes (BPB_TotSec), but the partition has {partition_len}; is it truncated?"
    )]
    PartitionTooShort {
        /// Length by the boot sector in bytes.
        volume_len: u64,
        /// Length of the partition in bytes.
        partition_len: u64,
    },
    /// Reserved sectors, FATs and root directory leave no room for a cluster.
    #[error(
        "the volume has {sectors} sectors (BPB_TotSec), but its first cluster begins at sector {first_data_sector}"
    )]
    NoClusters {
        /// Sectors of the volume.
        sectors: u32,
        /// First sector after reserved sectors, FATs and root directory.
        first_data_sector: u64,
    },
    /// The number of clusters is impossible with the other fields.
    #[error("the volume has {clusters} clusters; {limit}")]
    ClusterCount {
        /// The number of clusters.
        clusters: u32,
        /// What limits it.
        limit: &'static str,
    },
    /// The chain of clusters of a file or directory is broken.
    #[error("{}, cluster {cluster:#x} (first cluster {first:#x}): {defect}", Owner(*.entry))]
    Chain {
        /// Offset of its directory entry; `None` for the root directory.
        entry: Option<u64>,
        /// First cluster.
        first: u32,
        /// Cluster with the defect.
        cluster: u32,
        /// The defect.
        defect: ChainDefect,
    },
}

/// The file or directory of an error.
struct Owner(Option<u64>);

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(entry) => write!(f, "file with the directory entry at byte {entry:#x}"),
            None => write!(f, "root directory"),
        }
    }
}

impl From<FatError> for FsError {
    fn from(error: FatError) -> Self {
        match error {
            FatError::Read(error) => Self::Read(error),
            FatError::NotFat(_)
            | FatError::BootSector(BootSectorError {
                field: Field::FsVer, ..
            })
            | FatError::Chain {
                defect: ChainDefect::TooManyPieces | ChainDefect::DirectoryTooLong,
                ..
            } => Self::Unsupported(Box::new(error)),
            _ => Self::Malformed(Box::new(error)),
        }
    }
}

/// What a partition has instead of a FAT file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OtherFormat {
    /// An exFAT file system.
    #[error("it has exFAT")]
    Exfat,
    /// An NTFS file system.
    #[error("it has NTFS")]
    Ntfs,
    /// The first sector has no signature.
    #[error("Signature_word at 0x1fe is {found:#x}, expected 0xaa55")]
    NoSignature {
        /// The value.
        found: u16,
    },
    /// The partition is shorter than a boot sector.
    #[error("it has {len} bytes")]
    TooShort {
        /// Length of the partition in bytes.
        len: u64,
    },
}

/// A field of the boot sector has an invalid value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BootSectorError {
    /// The field.
    pub field: Field,
    /// Its value.
    pub found: u32,
}

impl BootSectorError {
    pub(crate) fn new(field: Field, found: impl Into<u32>) -> Self {
        Self {
            field,
            found: found.into(),
        }
    }
}

/// A field of the boot sector (sections 3.1 and 3.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Field {
    /// `BPB_BytsPerSec`.
    BytsPerSec,
    /// `BPB_SecPerClus`.
    SecPerClus,
    /// `BPB_RsvdSecCnt`.
    RsvdSecCnt,
    /// `BPB_NumFATs`.
    NumFats,
    /// `BPB_RootEntCnt`.
    RootEntCnt,
    /// `BPB_TotSec32`, where `BPB_TotSec16` is 0.
    TotSec,
    /// `BPB_FATSz32`, where `BPB_FATSz16` is 0.
    FatSz,
    /// `BPB_ExtFlags`.
    ExtFlags,
    /// `BPB_FSVer`.
    FsVer,
    /// `BPB_RootClus`.
    RootClus,
}

impl fmt::Display for BootSectorError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, offset, expected) = match self.field {
            Field::BytsPerSec => ("BPB_BytsPerSec", 11, "512, 1024, 2048 or 4096"),
            Field::SecPerClus => ("BPB_SecPerClus", 13, "a power of two"),
            Field::RsvdSecCnt => ("BPB_RsvdSecCnt", 14, "at least 1"),
            Field::NumFats => ("BPB_NumFATs", 16, "at least 1"),
            Field::RootEntCnt => ("BPB_RootEntCnt", 17, "0 for FAT32, otherwise at least 1"),
            Field::TotSec => (
                "BPB_TotSec32",
                32,
                "at least 1, because BPB_TotSec16 at 0x13 is 0",
            ),
            Field::FatSz => ("BPB_FATSz32", 36, "at least 1, because BPB_FATSz16 at 0x16 is 0"),
            Field::ExtFlags => ("BPB_ExtFlags", 40, "an active FAT below BPB_NumFATs"),
            Field::FsVer => ("BPB_FSVer", 42, "0 (supported)"),
            Field::RootClus => ("BPB_RootClus", 44, "a cluster of the volume"),
        };
        write!(
            f,
            "{name} at {offset:#x} is {:#x}, expected {expected}",
            self.found
        )
    }
}

impl core::error::Error for BootSectorError {}

/// Defect of a chain of clusters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ChainDefect {
    /// The number is that of no cluster of the volume.
    #[error("the volume has the clusters 2 to {max:#x} only")]
    NoCluster {
        /// Highest cluster.
        max: u32,
    },
    /// The FAT lists the cluster as free.
    #[error("the FAT lists it as free")]
    Free,
    /// The FAT lists the cluster as bad.
    #[error("the FAT lists it as bad")]
    Bad,
    /// The chain leads back into itself.
    #[error("the chain is a cycle")]
    Cycle,
    /// The chain ends before the file.
    #[error("the chain ends after {clusters} clusters, but the file has {len:#x} bytes")]
    TooShort {
        /// Length of the chain.
        clusters: u64,
        /// Length of the file in bytes.
        len: u64,
    },
    /// The chain continues after the end of the file.
    #[error("the chain continues after the end of the file, which has {len:#x} bytes")]
    TooLong {
        /// Length of the file in bytes.
        len: u64,
    },
    /// The directory is longer than 65,536 entries.
    #[error("the directory has more than {MAX_DIRECTORY_LEN:#x} bytes")]
    DirectoryTooLong,
    /// The file has more fragments than this crate supports.
    #[error("the file has more than {MAX_PIECES} fragments")]
    TooManyPieces,
}
