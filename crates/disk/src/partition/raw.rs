//! Structures of partition tables, in the order of the UEFI specification 2.10, chapter 5.

use core::mem::offset_of;

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// `Signature` of a Master Boot Record.
pub const MBR_SIGNATURE: u16 = 0xaa55;
/// `OSType` of the record that protects a GPT.
pub const GPT_PROTECTIVE: u8 = 0xee;
/// `Signature` of a GPT header.
pub const GPT_SIGNATURE: [u8; 8] = *b"EFI PART";
/// `Revision` of a GPT header: 1.0.
pub const GPT_REVISION: u32 = 0x0001_0000;

/// Partition record of a Master Boot Record (table 5.2).
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct MbrPartitionRecord {
    /// 0x80 for the active partition, otherwise 0.
    pub boot_indicator: u8,
    /// Cylinder, head and sector of the start; not used.
    pub starting_chs: [u8; 3],
    /// Type of the partition; 0 for an unused record.
    pub os_type: u8,
    /// Cylinder, head and sector of the end; not used.
    pub ending_chs: [u8; 3],
    /// First block.
    pub starting_lba: U32,
    /// Number of blocks.
    pub size_in_lba: U32,
}

const _: () =
    assert!(size_of::<MbrPartitionRecord>() == 16 && offset_of!(MbrPartitionRecord, starting_lba) == 8);

/// Master Boot Record (table 5.1); an extended boot record has the same layout.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct MasterBootRecord {
    /// Code of a BIOS boot loader, or the boot sector of a file system.
    pub boot_code: [u8; 440],
    /// Signature of the disk.
    pub unique_mbr_disk_signature: U32,
    /// Not used.
    pub unknown: [u8; 2],
    /// The partitions.
    pub partition_record: [MbrPartitionRecord; 4],
    /// [`MBR_SIGNATURE`].
    pub signature: U16,
}

const _: () =
    assert!(size_of::<MasterBootRecord>() == 512 && offset_of!(MasterBootRecord, partition_record) == 446);

/// GPT header (table 5.5).
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct GptHeader {
    /// [`GPT_SIGNATURE`].
    pub signature: [u8; 8],
    /// Version of the header: [`GPT_REVISION`].
    pub revision: U32,
    /// Length of the header in bytes: 92 up to the block size.
    pub header_size: U32,
    /// CRC32 of `header_size` bytes, with zero in place of this field.
    pub header_crc32: U32,
    /// Zero.
    pub reserved: U32,
    /// Block of this header.
    pub my_lba: U64,
    /// Block of the other header.
    pub alternate_lba: U64,
    /// First block that partitions may use.
    pub first_usable_lba: U64,
    /// Last block that partitions may use.
    pub last_usable_lba: U64,
    /// GUID of the disk (appendix A, as the others).
    pub disk_guid: [u8; 16],
    /// First block of the entry array.
    pub partition_entry_lba: U64,
    /// Number of entries.
    pub number_of_partition_entries: U32,
    /// Length of an entry in bytes: 128 × 2ⁿ.
    pub size_of_partition_entry: U32,
    /// CRC32 of the entry array.
    pub partition_entry_array_crc32: U32,
}

const _: () = assert!(size_of::<GptHeader>() == 92 && offset_of!(GptHeader, disk_guid) == 56);

/// GPT entry (table 5.6).
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct GptPartitionEntry {
    /// Type; zero for an unused entry.
    pub partition_type_guid: [u8; 16],
    /// Identifier.
    pub unique_partition_guid: [u8; 16],
    /// First block.
    pub starting_lba: U64,
    /// Last block.
    pub ending_lba: U64,
    /// Attributes (table 5.7).
    pub attributes: U64,
    /// Name in UTF-16, ended by a NUL if it is shorter.
    pub partition_name: [U16; 36],
}

const _: () =
    assert!(size_of::<GptPartitionEntry>() == 128 && offset_of!(GptPartitionEntry, partition_name) == 56);
