//! Structures of the Microsoft FAT specification 1.03, in its order.

use core::mem::offset_of;

use zerocopy::little_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// `Signature_word` of a boot sector.
pub const SIGNATURE: u16 = 0xaa55;
/// `BS_BootSig`: the fields for volume identifier and label are present.
pub const EXTENDED_BOOT_SIGNATURE: u8 = 0x29;

/// Boot sector up to the fields that the types have in common (section 3.1).
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct BiosParameterBlock {
    /// Jump to the boot code.
    pub jmp_boot: [u8; 3],
    /// Name of the system that formatted the volume.
    pub oem_name: [u8; 8],
    /// Bytes per sector: 512, 1024, 2048 or 4096.
    pub byts_per_sec: U16,
    /// Sectors per cluster, a power of two.
    pub sec_per_clus: u8,
    /// Sectors before the first FAT.
    pub rsvd_sec_cnt: U16,
    /// Number of FATs.
    pub num_fats: u8,
    /// Entries of the root directory of FAT12 and FAT16; 0 for FAT32.
    pub root_ent_cnt: U16,
    /// Sectors of the volume; 0 if `tot_sec32` has them.
    pub tot_sec16: U16,
    /// Kind of the medium.
    pub media: u8,
    /// Sectors of a FAT; 0 for FAT32.
    pub fat_sz16: U16,
    /// Sectors per track.
    pub sec_per_trk: U16,
    /// Number of heads.
    pub num_heads: U16,
    /// Sectors before the partition.
    pub hidd_sec: U32,
    /// Sectors of the volume if `tot_sec16` is 0.
    pub tot_sec32: U32,
}

const _: () =
    assert!(size_of::<BiosParameterBlock>() == 36 && offset_of!(BiosParameterBlock, fat_sz16) == 22);

/// Volume identifier and label: at the end of the fields of FAT12 and FAT16 (section 3.2), and of FAT32 (section 3.3).
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct VolumeFields {
    /// BIOS drive number.
    pub drv_num: u8,
    /// Zero.
    pub reserved1: u8,
    /// [`EXTENDED_BOOT_SIGNATURE`] if the following fields are present.
    pub boot_sig: u8,
    /// Identifier of the volume.
    pub vol_id: U32,
    /// Label of the volume, padded with spaces.
    pub vol_lab: [u8; 11],
    /// Name of the type, for people.
    pub fil_sys_type: [u8; 8],
}

const _: () = assert!(size_of::<VolumeFields>() == 26 && offset_of!(VolumeFields, vol_lab) == 7);

/// Fields of FAT32 after the common ones (section 3.3).
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Fat32Fields {
    /// Sectors of a FAT.
    pub fat_sz32: U32,
    /// Bits 0 to 3: the active FAT; bit 7: the other FATs are not copies of it.
    pub ext_flags: U16,
    /// Version: 0.
    pub fs_ver: U16,
    /// First cluster of the root directory.
    pub root_clus: U32,
    /// Sector of the `FSInfo` structure, which readers do not need.
    pub fs_info: U16,
    /// Sector of a copy of the boot sector.
    pub bk_boot_sec: U16,
    /// Zero.
    pub reserved: [u8; 12],
    /// Identifier and label.
    pub volume: VolumeFields,
}

const _: () = assert!(size_of::<Fat32Fields>() == 54 && offset_of!(Fat32Fields, volume) == 28);

/// Directory entry with a short name (section 6).
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct DirectoryEntry {
    /// Name of 8 bytes and extension of 3, padded with spaces.
    pub name: [u8; 11],
    /// Attributes.
    pub attr: u8,
    /// Bits 3 and 4: base and extension are shown in lower case.
    pub nt_res: u8,
    /// Count of 10 ms of the creation time, 0 to 199.
    pub crt_time_tenth: u8,
    /// Time of creation.
    pub crt_time: U16,
    /// Date of creation.
    pub crt_date: U16,
    /// Date of the last access.
    pub lst_acc_date: U16,
    /// High half of the first cluster; FAT32 only.
    pub fst_clus_hi: U16,
    /// Time of the last write.
    pub wrt_time: U16,
    /// Date of the last write.
    pub wrt_date: U16,
    /// Low half of the first cluster.
    pub fst_clus_lo: U16,
    /// Length in bytes; 0 for directories.
    pub file_size: U32,
}

const _: () = assert!(size_of::<DirectoryEntry>() == 32 && offset_of!(DirectoryEntry, fst_clus_hi) == 20);

/// `ATTR_VOLUME_ID`: the entry is the label of the volume.
pub const ATTR_VOLUME_ID: u8 = 0x08;
/// `ATTR_LONG_NAME`: the entry is a part of a long name.
pub const ATTR_LONG_NAME: u8 = 0x0f;
/// `ATTR_LONG_NAME_MASK`.
pub const ATTR_LONG_NAME_MASK: u8 = 0x3f;
/// `LAST_LONG_ENTRY` of `LDIR_Ord`.
pub const LAST_LONG_ENTRY: u8 = 0x40;

/// Directory entry with 13 units of a long name (section 7).
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct LongNameEntry {
    /// Number of the part from 1; with [`LAST_LONG_ENTRY`] in the last part, which comes first.
    pub ord: u8,
    /// Units 1 to 5.
    pub name1: [U16; 5],
    /// [`ATTR_LONG_NAME`].
    pub attr: u8,
    /// Zero.
    pub kind: u8,
    /// Checksum of the short name.
    pub chksum: u8,
    /// Units 6 to 11.
    pub name2: [U16; 6],
    /// Zero.
    pub fst_clus_lo: U16,
    /// Units 12 and 13.
    pub name3: [U16; 2],
}

const _: () = assert!(size_of::<LongNameEntry>() == 32 && offset_of!(LongNameEntry, name2) == 14);
