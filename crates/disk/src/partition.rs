//! Partition tables: GPT (UEFI specification 2.10, chapter 5), MBR with extended partitions, and disks without a table.

mod boot_sector;
mod error;
mod gpt;
mod mbr;
pub mod raw;
mod warning;

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use boot_core::{ByteSource, ReadError, SizedSource, SourceRange};

use crate::block::BlockSize;
use crate::guid::Guid;
use crate::window::Window;

pub use error::{GptError, GptErrorKind, PartitionError};
pub use gpt::{MAX_ARRAY_LEN, MAX_ENTRY_SIZE};
pub use mbr::MAX_LOGICAL;
pub use warning::{ChainDefect, TableWarning};

/// Reads the partition table of a disk.
///
/// A GPT needs a protective MBR. If its primary header or entry array is invalid, the backup is used, with
/// [`TableWarning::BackupUsed`]; the backup is not read otherwise. A disk without a table, such as a bare FAT volume or an empty disk,
/// has [`TableKind::None`].
///
/// Reads are bounded: a GPT has at most [`MAX_ARRAY_LEN`] bytes of entries, an MBR [`MAX_LOGICAL`] logical partitions for each
/// extended partition.
///
/// # Errors
///
/// [`PartitionError::Read`] if the first block cannot be read, [`PartitionError::Gpt`] if the MBR is protective, but both
/// headers are invalid.
pub fn partitions(disk: &dyn ByteSource, block_size: BlockSize) -> Result<PartitionTable, PartitionError> {
    let disk = Disk {
        source: SizedSource::new(disk)?,
        block_size,
    };
    let mut table = match boot_sector::read(&disk)? {
        boot_sector::Content::Gpt { is_hybrid } => gpt::read(&disk, is_hybrid)?,
        boot_sector::Content::Mbr(mbr) => mbr::read(&disk, &mbr),
        boot_sector::Content::NoTable => PartitionTable::new(TableKind::None),
    };
    table.report_overlaps();
    Ok(table)
}

/// The block size of a disk image with a GPT, found by the place of its primary header: 512 or 4,096 bytes. `None` if there is no
/// header at either place.
///
/// # Errors
///
/// [`ReadError`] if the image cannot be read.
pub fn probe_block_size(disk: &dyn ByteSource) -> Result<Option<BlockSize>, ReadError> {
    let source = SizedSource::new(disk)?;
    for block_size in [BlockSize::B512, BlockSize::B4096] {
        let mut signature = [0; 8];
        let read = source.read_prefix_at(block_size.as_u64(), &mut signature)?;
        if read == size_of_val(&signature) && signature == raw::GPT_SIGNATURE {
            return Ok(Some(block_size));
        }
    }
    Ok(None)
}

/// A disk whose table is read.
struct Disk<'a> {
    source: SizedSource<'a>,
    block_size: BlockSize,
}

impl Disk<'_> {
    /// Number of whole blocks.
    fn block_count(&self) -> u64 {
        self.block_size.blocks_in(self.source.len())
    }

    /// Byte offset of a block; `u64::MAX`, which cannot be read, if there is none.
    fn offset_of(&self, block: u64) -> u64 {
        self.block_size.offset_of(block).unwrap_or(u64::MAX)
    }

    /// Blocks as bytes; `None` if they are past the end of the disk.
    fn range(&self, first_block: u64, block_count: u64) -> Option<SourceRange> {
        let end = first_block.checked_add(block_count)?;
        if end > self.block_count() {
            return None;
        }
        let offset = self.block_size.offset_of(first_block)?;
        SourceRange::new(offset, self.block_size.offset_of(block_count)?)
    }
}

/// The partitions of a disk.
#[derive(Debug)]
#[non_exhaustive]
pub struct PartitionTable {
    /// Kind of the table.
    pub kind: TableKind,
    /// The partitions in the order of the table. All are inside the disk; they may overlap, see `warnings`.
    pub partitions: Vec<Partition>,
    /// Defects that leave the table usable.
    pub warnings: Vec<TableWarning>,
}

impl PartitionTable {
    const fn new(kind: TableKind) -> Self {
        Self {
            kind,
            partitions: Vec::new(),
            warnings: Vec::new(),
        }
    }

    /// The partition with this number.
    #[must_use]
    pub fn partition(&self, number: u32) -> Option<&Partition> {
        self.partitions
            .iter()
            .find(|partition| partition.number == number)
    }

    /// Adds a warning for each partition that shares a block with one before it on the disk.
    fn report_overlaps(&mut self) {
        let mut by_start: Vec<_> = self.partitions.iter().collect();
        by_start.sort_by_key(|partition| (partition.first_block, partition.number));
        let mut reaching_furthest: Option<&Partition> = None;
        for partition in by_start {
            match reaching_furthest {
                Some(other) if partition.first_block < other.end_block() => {
                    self.warnings.push(TableWarning::Overlap {
                        first: other.number,
                        second: partition.number,
                    });
                    if partition.end_block() > other.end_block() {
                        reaching_furthest = Some(partition);
                    }
                }
                _ => reaching_furthest = Some(partition),
            }
        }
    }
}

/// Kind of a partition table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TableKind {
    /// GUID Partition Table.
    Gpt {
        /// GUID of the disk.
        disk_guid: Guid,
    },
    /// Master Boot Record.
    Mbr {
        /// Signature of the disk; 0 if it has none.
        signature: u32,
    },
    /// No table: the file system, if any, is on the whole disk.
    None,
}

/// A partition.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Partition {
    /// Number as in `HD(1,…)` of EFI device paths and in Linux' device names: from 1 by the place in the table; logical partitions
    /// of an MBR from 5.
    pub number: u32,
    /// First block.
    pub first_block: u64,
    /// Number of blocks, never 0.
    pub block_count: u64,
    /// The same as bytes of the disk.
    pub range: SourceRange,
    /// Type.
    pub kind: PartitionType,
    /// Identifier.
    pub signature: PartitionSignature,
    /// Attributes.
    pub attributes: PartitionAttributes,
    /// Name in a GPT; invalid UTF-16 is replaced. Empty in an MBR.
    pub name: String,
}

impl Partition {
    /// Whether it is an EFI System Partition: type GUID [`Guid::ESP`], or MBR type 0xef (UEFI specification 2.10, sections 5.2.2
    /// and 5.3.3).
    #[must_use]
    pub fn is_esp(&self) -> bool {
        matches!(
            self.kind,
            PartitionType::Gpt(Guid::ESP) | PartitionType::Mbr(0xef)
        )
    }

    /// Whether it is an Extended Boot Loader Partition: type GUID [`Guid::XBOOTLDR`], or MBR type 0xea (Boot Loader
    /// Specification).
    #[must_use]
    pub fn is_xbootldr(&self) -> bool {
        matches!(
            self.kind,
            PartitionType::Gpt(Guid::XBOOTLDR) | PartitionType::Mbr(0xea)
        )
    }

    /// The bytes of the partition.
    ///
    /// # Errors
    ///
    /// [`ReadError`] if `disk` is shorter than the disk of the table.
    pub fn window<S: ByteSource>(&self, disk: S) -> Result<Window<S>, ReadError> {
        Window::new(disk, self.range)
    }

    /// First block after the partition.
    fn end_block(&self) -> u64 {
        self.first_block.saturating_add(self.block_count)
    }
}

/// Type of a [`Partition`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PartitionType {
    /// Type GUID of a GPT entry.
    Gpt(Guid),
    /// `OSType` of an MBR record.
    Mbr(u8),
}

impl fmt::Display for PartitionType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gpt(guid) => match guid.type_name() {
                Some(name) => f.write_str(name),
                None => write!(f, "type {guid}"),
            },
            Self::Mbr(0xef) => write!(f, "EFI System Partition"),
            Self::Mbr(0xea) => write!(f, "Extended Boot Loader Partition"),
            Self::Mbr(kind) => write!(f, "type {kind:#04x}"),
        }
    }
}

/// Identifier of a [`Partition`]: `PartitionSignature` of `HARDDRIVE_DEVICE_PATH` (UEFI specification 2.10, section 10.3.5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PartitionSignature {
    /// GUID of the partition in a GPT.
    Gpt(Guid),
    /// Signature of the disk in an MBR; 0 if it has none.
    Mbr(u32),
}

impl PartitionSignature {
    /// The 16 bytes of `PartitionSignature`.
    #[must_use]
    pub fn to_bytes(self) -> [u8; 16] {
        match self {
            Self::Gpt(guid) => guid.to_bytes(),
            Self::Mbr(signature) => u128::from(signature).to_le_bytes(),
        }
    }

    /// `MBRType` (`PartitionFormat`): 1 for MBR, 2 for GPT.
    #[must_use]
    pub const fn format(self) -> u8 {
        match self {
            Self::Gpt(_) => 2,
            Self::Mbr(_) => 1,
        }
    }

    /// `SignatureType`: 0 for none, 1 for an MBR signature, 2 for a GUID.
    #[must_use]
    pub const fn signature_type(self) -> u8 {
        match self {
            Self::Gpt(_) => 2,
            Self::Mbr(0) => 0,
            Self::Mbr(_) => 1,
        }
    }
}

bitflags::bitflags! {
    /// Attributes of a [`Partition`]: those of a GPT entry (UEFI specification 2.10, table 5.7).
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub struct PartitionAttributes: u64 {
        /// The platform needs the partition.
        const REQUIRED = 1;
        /// Firmware must not offer block I/O for the partition.
        const NO_BLOCK_IO = 1 << 1;
        /// Bootable by a BIOS; in an MBR the active partition.
        const LEGACY_BIOS_BOOTABLE = 1 << 2;
        /// Read-only (Discoverable Partitions Specification).
        const READ_ONLY = 1 << 60;
        /// Not to be mounted automatically (Discoverable Partitions Specification).
        const NO_AUTO = 1 << 63;
        /// Other bits, some of them defined by the type.
        const _ = !0;
    }
}
