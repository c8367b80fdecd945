//! Structures of ext4, in the order of the kernel's documentation (`Documentation/filesystems/ext4`).

use core::mem::offset_of;

use zerocopy::little_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned, big_endian as be};

/// Offset of the superblock.
pub const SUPERBLOCK_OFFSET: u64 = 1024;
/// `s_magic`.
pub const MAGIC: u16 = 0xef53;

/// Superblock up to the fields that are used.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Superblock {
    /// Number of inodes.
    pub inodes_count: U32,
    /// Number of blocks, low half.
    pub blocks_count_lo: U32,
    /// Numbers of reserved and free blocks, and of free inodes.
    pub counts: [U32; 3],
    /// First block of group 0.
    pub first_data_block: U32,
    /// Block size is 1024 << this.
    pub log_block_size: U32,
    /// Cluster size is 1024 << this.
    pub log_cluster_size: U32,
    /// Blocks of a group.
    pub blocks_per_group: U32,
    /// Clusters of a group.
    pub clusters_per_group: U32,
    /// Inodes of a group.
    pub inodes_per_group: U32,
    /// Times of mount and write.
    pub times: [U32; 2],
    /// Numbers of mounts.
    pub mounts: [U16; 2],
    /// [`MAGIC`].
    pub magic: U16,
    /// State of the file system.
    pub state: U16,
    /// What to do at errors, and minor revision.
    pub errors: [U16; 2],
    /// Times of checks.
    pub checks: [U32; 2],
    /// Operating system that made it.
    pub creator_os: U32,
    /// 0 for the original format, 1 with the fields that follow.
    pub rev_level: U32,
    /// Owner of reserved blocks.
    pub reserved_owner: [U16; 2],
    /// First inode that is not reserved.
    pub first_ino: U32,
    /// Size of an inode.
    pub inode_size: U16,
    /// Group of this superblock.
    pub block_group_nr: U16,
    /// Features that need no support.
    pub feature_compat: U32,
    /// Features that need support to read.
    pub feature_incompat: U32,
    /// Features that need support to write.
    pub feature_ro_compat: U32,
    /// Identifier.
    pub uuid: [u8; 16],
    /// Label, ended by a NUL if it is shorter.
    pub volume_name: [u8; 16],
    /// Directory of the last mount.
    pub last_mounted: [u8; 64],
    /// Fields for allocation.
    pub allocation: [u8; 8],
    /// Identifier of the journal.
    pub journal_uuid: [u8; 16],
    /// Inode of the journal.
    pub journal_inum: U32,
    /// Device of the journal.
    pub journal_dev: U32,
    /// First inode to delete.
    pub last_orphan: U32,
    /// Seeds of hashes.
    pub hash_seed: [U32; 4],
    /// Version of hashes, and kind of the backup of the journal's inode.
    pub hash: [u8; 2],
    /// Size of a group descriptor.
    pub desc_size: U16,
    /// Mount options.
    pub default_mount_opts: U32,
    /// First group descriptor block that is in its own meta group.
    pub first_meta_bg: U32,
    /// Time of mkfs.
    pub mkfs_time: U32,
    /// Backup of the journal's inode.
    pub jnl_blocks: [U32; 17],
    /// Number of blocks, high half.
    pub blocks_count_hi: U32,
}

const _: () = assert!(
    size_of::<Superblock>() == 0x154
        && offset_of!(Superblock, magic) == 0x38
        && offset_of!(Superblock, inode_size) == 0x58
        && offset_of!(Superblock, journal_inum) == 0xe0
        && offset_of!(Superblock, desc_size) == 0xfe
        && offset_of!(Superblock, first_meta_bg) == 0x104
);

/// Bits of [`Superblock::feature_compat`].
pub mod compat {
    /// The file system has a journal.
    pub const HAS_JOURNAL: u32 = 0x4;
    /// Two groups have backups of the superblock.
    pub const SPARSE_SUPER2: u32 = 0x200;
}

/// Bits of [`Superblock::feature_incompat`].
pub mod incompat {
    /// Directory entries have a file type.
    pub const FILETYPE: u32 = 0x2;
    /// The journal has transactions that the file system lacks.
    pub const RECOVER: u32 = 0x4;
    /// Group descriptors are in their meta groups.
    pub const META_BG: u32 = 0x10;
    /// Files have extents.
    pub const EXTENTS: u32 = 0x40;
    /// Numbers of blocks have 64 bits.
    pub const BIT64: u32 = 0x80;
    /// Multiple mount protection.
    pub const MMP: u32 = 0x100;
    /// Groups share the place of their tables.
    pub const FLEX_BG: u32 = 0x200;
    /// Inodes for extended attributes.
    pub const EA_INODE: u32 = 0x400;
    /// The seed of checksums is in the superblock.
    pub const CSUM_SEED: u32 = 0x2000;
    /// Directories above 2 GiB.
    pub const LARGEDIR: u32 = 0x4000;
    /// Data of small files in inodes.
    pub const INLINE_DATA: u32 = 0x8000;
    /// Encrypted files.
    pub const ENCRYPT: u32 = 0x10000;
    /// Directories without regard to case.
    pub const CASEFOLD: u32 = 0x20000;
}

/// Bit of `feature_ro_compat`: backups of the superblock in some groups only.
pub const RO_SPARSE_SUPER: u32 = 0x1;

/// Group descriptor: the place of the inode table.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct GroupDescriptor {
    /// Blocks of the bitmaps, low halves.
    pub bitmaps_lo: [U32; 2],
    /// First block of the inode table, low half.
    pub inode_table_lo: U32,
    /// Counts, flags and checksums.
    pub rest_lo: [u8; 20],
    /// Blocks of the bitmaps, high halves.
    pub bitmaps_hi: [U32; 2],
    /// First block of the inode table, high half; only in descriptors of 64 bytes.
    pub inode_table_hi: U32,
}

const _: () =
    assert!(size_of::<GroupDescriptor>() == 44 && offset_of!(GroupDescriptor, inode_table_hi) == 0x28);

/// Inode up to the fields that are used. Inodes of 128 bytes end after `osd2`.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Inode {
    /// Type and permissions.
    pub mode: U16,
    /// Owner, low half.
    pub uid: U16,
    /// Length, low half.
    pub size_lo: U32,
    /// Time of the last access.
    pub atime: U32,
    /// Time of the last change of the inode.
    pub ctime: U32,
    /// Time of the last modification.
    pub mtime: U32,
    /// Time of deletion.
    pub dtime: U32,
    /// Group, low half.
    pub gid: U16,
    /// Number of links.
    pub links_count: U16,
    /// Number of blocks.
    pub blocks_lo: U32,
    /// Flags: see [`inode_flags`].
    pub flags: U32,
    /// Depends on the operating system.
    pub osd1: U32,
    /// Extents, numbers of blocks, or the target of a symbolic link.
    pub block: [u8; 60],
    /// Generation.
    pub generation: U32,
    /// Block of extended attributes.
    pub file_acl_lo: U32,
    /// Length, high half.
    pub size_high: U32,
    /// Unused.
    pub obso_faddr: U32,
    /// Depends on the operating system.
    pub osd2: [u8; 12],
    /// Length of the fields from here on.
    pub extra_isize: U16,
    /// Checksum.
    pub checksum_hi: U16,
    /// Nanoseconds and upper bits of `ctime`.
    pub ctime_extra: U32,
    /// Nanoseconds and upper bits of `mtime`.
    pub mtime_extra: U32,
    /// Nanoseconds and upper bits of `atime`.
    pub atime_extra: U32,
    /// Time of creation.
    pub crtime: U32,
    /// Nanoseconds and upper bits of `crtime`.
    pub crtime_extra: U32,
}

const _: () = assert!(
    size_of::<Inode>() == 0x98
        && offset_of!(Inode, block) == 0x28
        && offset_of!(Inode, size_high) == 0x6c
        && offset_of!(Inode, extra_isize) == 0x80
);

/// Length of the fields that every inode has.
pub const INODE_MIN: usize = 128;

/// Bits of [`Inode::flags`].
pub mod inode_flags {
    /// The file is compressed.
    pub const COMPRESSED: u32 = 0x4;
    /// The file is encrypted.
    pub const ENCRYPTED: u32 = 0x800;
    /// The file has extents.
    pub const EXTENTS: u32 = 0x8_0000;
    /// The data is in the inode.
    pub const INLINE_DATA: u32 = 0x1000_0000;
}

/// Types in [`Inode::mode`].
pub mod file_type {
    /// Bits of the type.
    pub const MASK: u16 = 0xf000;
    /// Directory.
    pub const DIRECTORY: u16 = 0x4000;
    /// Regular file.
    pub const REGULAR: u16 = 0x8000;
    /// Symbolic link.
    pub const SYMLINK: u16 = 0xa000;
}

/// `eh_magic`.
pub const EXTENT_MAGIC: u16 = 0xf30a;

/// Header of a node of a tree of extents.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct ExtentHeader {
    /// [`EXTENT_MAGIC`].
    pub magic: U16,
    /// Number of entries.
    pub entries: U16,
    /// Largest number of entries.
    pub max: U16,
    /// 0 for a node with extents, otherwise its height.
    pub depth: U16,
    /// Generation.
    pub generation: U32,
}

/// Extent.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Extent {
    /// First block in the file.
    pub block: U32,
    /// Number of blocks; above 32,768: that number plus 32,768, and the blocks read as zeros.
    pub len: U16,
    /// First block of the volume, high half.
    pub start_hi: U16,
    /// First block of the volume, low half.
    pub start_lo: U32,
}

/// Reference to a node of a tree of extents.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct ExtentIndex {
    /// First block in the file.
    pub block: U32,
    /// Block of the node, low half.
    pub leaf_lo: U32,
    /// Block of the node, high half.
    pub leaf_hi: U16,
    /// Unused.
    pub unused: U16,
}

const _: () =
    assert!(size_of::<ExtentHeader>() == 12 && size_of::<Extent>() == 12 && size_of::<ExtentIndex>() == 12);

/// Start of a directory entry; the name follows.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct DirectoryEntry {
    /// Inode; 0 for an unused entry.
    pub inode: U32,
    /// Length of the entry.
    pub rec_len: U16,
    /// Length of the name.
    pub name_len: u8,
    /// Type, or the upper half of the length of the name.
    pub file_type: u8,
}

const _: () = assert!(size_of::<DirectoryEntry>() == 8);

/// `h_magic` of blocks of a journal.
pub const JOURNAL_MAGIC: u32 = 0xc03b_3998;

/// Header of blocks of a journal (`Documentation/filesystems/ext4/journal.rst`). All its structures are big-endian.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct JournalHeader {
    /// [`JOURNAL_MAGIC`].
    pub magic: be::U32,
    /// Type: see [`journal_block`].
    pub kind: be::U32,
    /// Number of the transaction.
    pub sequence: be::U32,
}

/// Types of blocks of a journal.
pub mod journal_block {
    /// Tags for the blocks that follow.
    pub const DESCRIPTOR: u32 = 1;
    /// End of a transaction.
    pub const COMMIT: u32 = 2;
    /// Superblock of version 1, without features.
    pub const SUPERBLOCK_V1: u32 = 3;
    /// Superblock of version 2.
    pub const SUPERBLOCK_V2: u32 = 4;
    /// Blocks that earlier transactions do not replace.
    pub const REVOKE: u32 = 5;
}

/// Superblock of a journal.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct JournalSuperblock {
    /// Header.
    pub header: JournalHeader,
    /// Block size.
    pub blocksize: be::U32,
    /// Number of blocks.
    pub maxlen: be::U32,
    /// First block of transactions.
    pub first: be::U32,
    /// Number of the first transaction.
    pub sequence: be::U32,
    /// Block of the first transaction; 0 if there is none.
    pub start: be::U32,
    /// Error.
    pub errno: be::U32,
    /// Features that need no support.
    pub feature_compat: be::U32,
    /// Features that need support.
    pub feature_incompat: be::U32,
    /// Features that need support to write.
    pub feature_ro_compat: be::U32,
    /// Identifier.
    pub uuid: [u8; 16],
    /// Users.
    pub nr_users: be::U32,
    /// Copy of the superblock.
    pub dynsuper: be::U32,
    /// Limits of transactions.
    pub limits: [be::U32; 2],
    /// Type of checksums.
    pub checksum_type: u8,
    /// Padding.
    pub padding: [u8; 3],
    /// Blocks for fast commits, at the end.
    pub num_fc_blocks: be::U32,
}

const _: () = assert!(
    size_of::<JournalSuperblock>() == 0x58
        && offset_of!(JournalSuperblock, start) == 0x1c
        && offset_of!(JournalSuperblock, feature_incompat) == 0x28
);

/// Bits of [`JournalSuperblock::feature_incompat`].
pub mod journal_incompat {
    /// Blocks may be revoked.
    pub const REVOKE: u32 = 0x1;
    /// Numbers of blocks have 64 bits.
    pub const BIT64: u32 = 0x2;
    /// Commits may be written before their data.
    pub const ASYNC_COMMIT: u32 = 0x4;
    /// Checksums of version 2.
    pub const CSUM_V2: u32 = 0x8;
    /// Checksums of version 3.
    pub const CSUM_V3: u32 = 0x10;
    /// Fast commits.
    pub const FAST_COMMIT: u32 = 0x20;
}

/// Flags of tags.
pub mod tag_flags {
    /// The first four bytes of the block were [`JOURNAL_MAGIC`](super::JOURNAL_MAGIC), and are zero in the journal.
    pub const ESCAPED: u32 = 0x1;
    /// No identifier follows the tag.
    pub const SAME_UUID: u32 = 0x2;
    /// The last tag of its block.
    pub const LAST: u32 = 0x8;
}
