//! Blocks of a volume whose content is elsewhere.

use alloc::collections::BTreeMap;
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
    blocks: BTreeMap<u64, Copied>,
}

impl Overlay {
    pub(crate) const fn new() -> Self {
        Self {
            blocks: BTreeMap::new(),
        }
    }

    pub(crate) fn get(&self, block: u64) -> Option<Copied> {
        self.blocks.get(&block).copied()
    }

    /// The blocks in a range, which is not empty, in their order.
    pub(crate) fn range(&self, range: Range<u64>) -> impl Iterator<Item = (u64, Copied)> {
        self.blocks.range(range).map(|(block, copy)| (*block, *copy))
    }
}

impl FromIterator<(u64, Copied)> for Overlay {
    fn from_iter<I: IntoIterator<Item = (u64, Copied)>>(blocks: I) -> Self {
        Self {
            blocks: blocks.into_iter().collect(),
        }
    }
}
