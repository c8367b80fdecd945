//! Access to the disk for the readers of tables.

use boot_core::{SizedSource, SourceRange};

use crate::block::BlockSize;

/// A disk whose table is read.
pub(super) struct Disk<'a> {
    pub(super) source: SizedSource<'a>,
    pub(super) block_size: BlockSize,
}

impl Disk<'_> {
    /// Number of whole blocks.
    pub(super) fn block_count(&self) -> u64 {
        self.block_size.blocks_in(self.source.len())
    }

    /// Byte offset of a block; `u64::MAX`, which cannot be read, if there is none.
    pub(super) fn offset_of(&self, block: u64) -> u64 {
        self.block_size.offset_of(block).unwrap_or(u64::MAX)
    }

    /// Blocks as bytes; `None` if they are past the end of the disk.
    pub(super) fn range(&self, first_block: u64, block_count: u64) -> Option<SourceRange> {
        let end = first_block.checked_add(block_count)?;
        if end > self.block_count() {
            return None;
        }
        let offset = self.block_size.offset_of(first_block)?;
        SourceRange::new(offset, self.block_size.offset_of(block_count)?)
    }
}
