//! Layout of a volume.

use alloc::string::String;

use boot_core::{SizedSource, arith};
use zerocopy::FromZeros;

use crate::error::{Ext4Error, Field, SuperblockError};
use crate::raw::{MAGIC, RO_SPARSE_SUPER, SUPERBLOCK_OFFSET, Superblock, compat, incompat};

/// Features that this crate supports, or that need no support to read what it reads.
const SUPPORTED: u32 = incompat::FILETYPE
    | incompat::RECOVER
    | incompat::META_BG
    | incompat::EXTENTS
    | incompat::BIT64
    | incompat::MMP
    | incompat::FLEX_BG
    | incompat::EA_INODE
    | incompat::CSUM_SEED
    | incompat::LARGEDIR
    | incompat::INLINE_DATA
    | incompat::ENCRYPT
    | incompat::CASEFOLD;

/// Inode of the root directory.
pub(crate) const ROOT_INODE: u32 = 2;

/// Validated layout of a volume.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Geometry {
    /// Block size in bytes: a power of two from 1024 to 65,536.
    pub block_size: u32,
    /// Number of blocks. All are inside the partition.
    pub block_count: u64,
    /// First block of group 0.
    pub first_data_block: u32,
    /// Blocks of a group.
    pub blocks_per_group: u32,
    /// Inodes of a group.
    pub inodes_per_group: u32,
    /// Number of inodes.
    pub inode_count: u32,
    /// Size of an inode in bytes.
    pub inode_size: u16,
    /// Size of a group descriptor in bytes.
    pub descriptor_size: u16,
    /// Features that need support to read: see [`incompat`].
    pub incompat: u32,
    /// Features that need no support: see [`compat`].
    pub compat: u32,
    /// Features that need support to write.
    pub ro_compat: u32,
    /// First block of group descriptors that is in its meta group.
    pub first_meta_bg: u32,
    /// Inode of the journal, if it has to be replayed.
    pub dirty_journal: Option<u32>,
    /// Identifier.
    pub uuid: [u8; 16],
    /// Label.
    pub label: Option<String>,
}

impl Geometry {
    /// Reads and checks the superblock.
    pub(crate) fn read(source: &SizedSource<'_>) -> Result<Self, Ext4Error> {
        let mut raw = Superblock::new_zeroed();
        if source.len() >= SUPERBLOCK_OFFSET.saturating_add(arith::to_u64(size_of::<Superblock>())) {
            raw = source.read(SUPERBLOCK_OFFSET)?;
        }
        let found = raw.magic.get();
        if found != MAGIC {
            return Err(Ext4Error::NotExt4 { found });
        }
        let geometry = Self::check(&raw)?;
        let volume_len = geometry.block_count.saturating_mul(geometry.block_size.into());
        if volume_len > source.len() {
            return Err(Ext4Error::PartitionTooShort {
                volume_len,
                partition_len: source.len(),
            });
        }
        Ok(geometry)
    }

    fn check(raw: &Superblock) -> Result<Self, Ext4Error> {
        let is_original = raw.rev_level.get() == 0;
        let features = |field: u32| if is_original { 0 } else { field };
        let incompat = features(raw.feature_incompat.get());
        let mut bits = incompat & !SUPPORTED;
        if features(raw.feature_compat.get()) & compat::SPARSE_SUPER2 != 0 {
            // Which groups have backups, and so the place of descriptors in meta groups, is in a field that is not read here.
            bits |= incompat & incompat::META_BG;
        }
        if bits != 0 {
            return Err(Ext4Error::Features { bits });
        }
        let check = |is_valid: bool, field, found: u64| {
            let error = SuperblockError { field, found };
            if is_valid { Ok(()) } else { Err(error) }
        };
        let log = raw.log_block_size.get();
        check(log <= 6, Field::LogBlockSize, log.into())?;
        let block_size = 1024_u32 << log;
        let bits_of_block = block_size.saturating_mul(8);
        let has_64_bit = incompat & incompat::BIT64 != 0;
        let high = if has_64_bit { raw.blocks_count_hi.get() } else { 0 };
        let block_count = u64::from(high) << 32 | u64::from(raw.blocks_count_lo.get());
        let first = raw.first_data_block.get();
        check(first <= 1, Field::FirstDataBlock, first.into())?;
        check(block_count > first.into(), Field::BlocksCount, block_count)?;
        let blocks_per_group = raw.blocks_per_group.get();
        // With clusters, the bits of a block are those of more blocks.
        let cluster_ratio = 1_u32
            .checked_shl(raw.log_cluster_size.get().saturating_sub(log))
            .unwrap_or(1);
        let most = bits_of_block.saturating_mul(cluster_ratio.max(1));
        check(
            (1..=most).contains(&blocks_per_group),
            Field::BlocksPerGroup,
            blocks_per_group.into(),
        )?;
        let inodes_per_group = raw.inodes_per_group.get();
        check(
            (1..=bits_of_block).contains(&inodes_per_group),
            Field::InodesPerGroup,
            inodes_per_group.into(),
        )?;
        let groups = block_count
            .saturating_sub(first.into())
            .div_ceil(blocks_per_group.into());
        let inode_count = raw.inodes_count.get();
        let most = groups.saturating_mul(inodes_per_group.into());
        let inodes = u64::from(ROOT_INODE)..=most;
        check(
            inodes.contains(&inode_count.into()),
            Field::InodesCount,
            inode_count.into(),
        )?;
        let inode_size = if is_original { 128 } else { raw.inode_size.get() };
        check(
            inode_size.is_power_of_two() && inode_size >= 128 && u32::from(inode_size) <= block_size,
            Field::InodeSize,
            inode_size.into(),
        )?;
        let descriptor_size = if has_64_bit { raw.desc_size.get() } else { 32 };
        check(
            !has_64_bit || descriptor_size.is_power_of_two() && (64..=1024).contains(&descriptor_size),
            Field::DescSize,
            descriptor_size.into(),
        )?;
        let journal = raw.journal_inum.get();
        let is_dirty = incompat & incompat::RECOVER != 0;
        check(
            !is_dirty || (1..=inode_count).contains(&journal),
            Field::JournalInum,
            journal.into(),
        )?;
        let len = raw.volume_name.iter().position(|byte| *byte == 0);
        let label = raw.volume_name.get(..len.unwrap_or(16)).unwrap_or_default();
        let label = String::from_utf8_lossy(label).into_owned();
        Ok(Self {
            block_size,
            block_count,
            first_data_block: first,
            blocks_per_group,
            inodes_per_group,
            inode_count,
            inode_size,
            descriptor_size,
            incompat,
            compat: features(raw.feature_compat.get()),
            ro_compat: features(raw.feature_ro_compat.get()),
            first_meta_bg: raw.first_meta_bg.get(),
            dirty_journal: is_dirty.then_some(journal),
            uuid: raw.uuid,
            label: Some(label).filter(|label| !label.is_empty()),
        })
    }

    /// Byte offset of `count` blocks from `block` on; `None` if not all are blocks of the volume. Block 0 belongs to no file.
    pub(crate) fn offset_of(&self, block: u64, count: u64) -> Option<u64> {
        let end = block.checked_add(count)?;
        let is_inside = block > 0 && end <= self.block_count;
        is_inside.then(|| block.checked_mul(self.block_size.into()))?
    }

    /// Block of the descriptor of a group, and its offset in the block.
    pub(crate) fn descriptor_place(&self, group: u32) -> Option<(u64, u32)> {
        let size = u32::from(self.descriptor_size);
        let per_block = self.block_size.checked_div(size)?;
        let (index, rest) = (group.checked_div(per_block)?, group.checked_rem(per_block)?);
        let offset = rest.checked_mul(size)?;
        if self.incompat & incompat::META_BG == 0 || index < self.first_meta_bg {
            // The block after that of the superblock.
            let superblock = SUPERBLOCK_OFFSET.checked_div(self.block_size.into())?;
            let first = superblock.max(self.first_data_block.into()).checked_add(1)?;
            return Some((first.checked_add(index.into())?, offset));
        }
        let first_group = index.checked_mul(per_block)?;
        let start = u64::from(first_group).checked_mul(self.blocks_per_group.into())?;
        let start = start.checked_add(self.first_data_block.into())?;
        let after = u64::from(self.has_superblock(first_group));
        Some((start.checked_add(after)?, offset))
    }

    /// Whether a group begins with a superblock or a backup of it.
    fn has_superblock(&self, group: u32) -> bool {
        if group == 0 {
            return true;
        }
        self.ro_compat & RO_SPARSE_SUPER == 0 || [3, 5, 7].into_iter().any(|base| is_power(group, base))
    }
}

/// Whether `n` is a power of `base`, 1 included.
fn is_power(n: u32, base: u32) -> bool {
    let mut power = 1_u32;
    while power < n {
        power = match power.checked_mul(base) {
            Some(next) => next,
            None => return false,
        };
    }
    power == n
}
