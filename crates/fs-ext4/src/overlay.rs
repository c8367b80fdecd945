//! Blocks of a volume whose content is elsewhere.

use alloc::vec::Vec;
use core::ops::Range;

/// The newest copy of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Copied {
    /// Byte offset in the partition.
    pub(crate) offset: u64,
    /// The first four bytes are replaced.
    pub(crate) is_escaped: bool,
}

/// Blocks of the volume whose content is in the journal.
#[derive(Debug, Default)]
pub(crate) struct Overlay {
    /// In order of blocks, each once.
    blocks: Vec<(u64, Copied)>,
}

impl Overlay {
    pub(crate) const fn new() -> Self {
        Self { blocks: Vec::new() }
    }

    /// Blocks in their order, each once.
    pub(crate) const fn of(blocks: Vec<(u64, Copied)>) -> Self {
        Self { blocks }
    }

    pub(crate) fn get(&self, block: u64) -> Option<Copied> {
        get(&self.blocks, block)
    }

    /// The blocks in a range, which is not empty, in their order.
    pub(crate) fn range(&self, range: Range<u64>) -> impl Iterator<Item = (u64, Copied)> {
        let first = self.blocks.partition_point(|(block, _)| *block < range.start);
        let rest = self.blocks.get(first..).unwrap_or_default();
        rest.iter()
            .copied()
            .take_while(move |(block, _)| *block < range.end)
    }
}

/// Sorts entries by their blocks, and keeps the last one of each block.
pub(crate) fn keep_last<T>(entries: &mut Vec<(u64, T)>) {
    // The sort is stable.
    entries.sort_by_key(|(block, _)| *block);
    entries.dedup_by(|later, earlier| {
        let is_same = later.0 == earlier.0;
        if is_same {
            core::mem::swap(later, earlier);
        }
        is_same
    });
}

/// The entry of a block, among entries in order of blocks.
pub(crate) fn get<T: Copy>(entries: &[(u64, T)], block: u64) -> Option<T> {
    let index = entries.binary_search_by_key(&block, |(block, _)| *block).ok()?;
    entries.get(index).map(|(_, entry)| *entry)
}
