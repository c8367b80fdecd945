//! Partition tables as values.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use boot_core::{ByteSource, ReadError, SourceRange};
use uguid::Guid;

use super::warning::TableWarning;
use crate::partition_types;
use crate::window::Window;

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
    pub(super) const fn new(kind: TableKind) -> Self {
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
    pub(super) fn report_overlaps(&mut self) {
        let mut by_start: Vec<_> = self.partitions.iter().collect();
        by_start.sort_unstable_by_key(|partition| (partition.first_block, partition.number));
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
    /// Whether it is an EFI System Partition: type GUID [`ESP`](partition_types::ESP), or MBR type 0xef (UEFI specification 2.10, sections 5.2.2
    /// and 5.3.3).
    #[must_use]
    pub fn is_esp(&self) -> bool {
        matches!(
            self.kind,
            PartitionType::Gpt(partition_types::ESP) | PartitionType::Mbr(0xef)
        )
    }

    /// Whether it is an Extended Boot Loader Partition: type GUID [`XBOOTLDR`](partition_types::XBOOTLDR), or MBR type 0xea (Boot Loader
    /// Specification).
    #[must_use]
    pub fn is_xbootldr(&self) -> bool {
        matches!(
            self.kind,
            PartitionType::Gpt(partition_types::XBOOTLDR) | PartitionType::Mbr(0xea)
        )
    }

    /// Whether it may be the root file system of Linux: type GUID [`partition_types::LINUX_DATA`] or one of the root file systems, or MBR type 0x83
    /// (Discoverable Partitions Specification).
    #[must_use]
    pub fn is_linux(&self) -> bool {
        matches!(
            self.kind,
            PartitionType::Gpt(
                partition_types::LINUX_DATA
                    | partition_types::LINUX_ROOT_X86_64
                    | partition_types::LINUX_ROOT_ARM64
                    | partition_types::LINUX_ROOT_RISCV64
            ) | PartitionType::Mbr(0x83)
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
            Self::Gpt(guid) => match partition_types::name(*guid) {
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
