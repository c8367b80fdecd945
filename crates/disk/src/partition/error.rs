//! Errors of partition tables.

use core::error::Error;
use core::fmt;

use boot_core::ReadError;

use super::gpt::{MAX_ARRAY_LEN, MAX_ENTRY_SIZE};
use super::raw::GptHeader;

/// Error of [`partitions`](super::partitions).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PartitionError {
    /// The first block of the disk could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The MBR is that of a GPT, but neither the primary nor the backup header is valid.
    #[error("the disk has a GPT, but both its headers are invalid: primary {primary}; backup {backup}")]
    Gpt {
        /// Defect of the primary header.
        #[source]
        primary: GptError,
        /// Defect of the backup header.
        backup: GptError,
    },
}

/// Defect of a GPT header or its entry array.
#[derive(Debug)]
#[non_exhaustive]
pub struct GptError {
    /// Block of the header.
    pub block: u64,
    /// The defect.
    pub kind: GptErrorKind,
}

/// Kind of a [`GptError`]. Offsets are those of the header.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GptErrorKind {
    /// The header or its entries could not be read; the disk may be too short.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// `Signature` is wrong.
    #[error("Signature at 0x0 is \"{}\", expected \"EFI PART\"", found.escape_ascii())]
    Signature {
        /// The value.
        found: [u8; 8],
    },
    /// The major version in `Revision` is not 1.
    #[error("Revision at 0x8 is {found:#x}, supported is 0x10000 (1.0)")]
    Revision {
        /// The value.
        found: u32,
    },
    /// `HeaderSize` is too small or above the block size.
    #[error("HeaderSize at 0xc is {found}, expected {} to {block_size}", size_of::<GptHeader>())]
    HeaderSize {
        /// The value.
        found: u32,
        /// Block size in bytes.
        block_size: u32,
    },
    /// `HeaderCRC32` does not match.
    #[error("HeaderCRC32 at 0x10 is {found:#x}, computed is {computed:#x}")]
    HeaderCrc32 {
        /// The value.
        found: u32,
        /// The checksum of the header.
        computed: u32,
    },
    /// `MyLBA` is not the block of the header.
    #[error("MyLBA at 0x18 is {found}, expected the block of the header")]
    MyLba {
        /// The value.
        found: u64,
    },
    /// `SizeOfPartitionEntry` is not 128 × 2ⁿ, or above [`MAX_ENTRY_SIZE`].
    #[error("SizeOfPartitionEntry at 0x54 is {found}, expected 128, 256, … up to {MAX_ENTRY_SIZE}")]
    EntrySize {
        /// The value.
        found: u32,
    },
    /// The entry array is longer than [`MAX_ARRAY_LEN`].
    #[error(
        "{count} entries (NumberOfPartitionEntries at 0x50) of {size} bytes are above the limit of {MAX_ARRAY_LEN} bytes"
    )]
    TooManyEntries {
        /// `NumberOfPartitionEntries`.
        count: u32,
        /// `SizeOfPartitionEntry`.
        size: u32,
    },
    /// The entry array contains the MBR or its header, or is outside the disk.
    #[error(
        "the entry array (PartitionEntryLBA at 0x48: {first_block}, {len} bytes) is outside the disk or covers a header"
    )]
    EntryArray {
        /// `PartitionEntryLBA`.
        first_block: u64,
        /// Length of the array in bytes.
        len: u64,
    },
    /// `PartitionEntryArrayCRC32` does not match.
    #[error("PartitionEntryArrayCRC32 at 0x58 is {found:#x}, computed is {computed:#x}")]
    EntryArrayCrc32 {
        /// The value.
        found: u32,
        /// The checksum of the array.
        computed: u32,
    },
}

impl fmt::Display for GptError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "GPT header at block {}: {}", self.block, self.kind)
    }
}

impl Error for GptError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.kind.source()
    }
}
