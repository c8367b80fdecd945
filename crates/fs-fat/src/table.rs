//! The file allocation table (section 4).

use alloc::vec::Vec;
use core::cell::Cell;

use boot_core::{ByteSource, ReadError};

use crate::geometry::{FatKind, Geometry};

/// Length of the reads of a FAT in bytes. A FAT12 is shorter, and no entry of the others crosses a multiple of it.
const BLOCK_LEN: u64 = 64 << 10;

/// Number of blocks in memory.
const MAX_BLOCKS: usize = 8;

/// What the FAT has for a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Link {
    /// The next cluster. It may be none of the volume.
    Next(u32),
    /// The cluster is the last one.
    End,
    /// The cluster is not used.
    Free,
    /// The cluster is damaged.
    Bad,
}

/// The active FAT of a volume, and the blocks of it that were used last, the last one first.
///
/// The blocks are taken out during reads, so that a source may use the file system meanwhile.
#[derive(Default)]
pub(crate) struct Table {
    blocks: Cell<Vec<Block>>,
}

struct Block {
    number: u64,
    bytes: Vec<u8>,
}

impl Table {
    /// The link of a cluster, which is one of the volume.
    pub(crate) fn link(
        &self,
        source: &dyn ByteSource,
        geometry: &Geometry,
        cluster: u32,
    ) -> Result<Link, ReadError> {
        let wide = u64::from(cluster);
        Ok(match geometry.kind {
            FatKind::Fat12 => {
                let bytes = self.read(source, geometry, wide.saturating_add(wide >> 1))?;
                let pair = u16::from_le_bytes(bytes);
                let value = if cluster & 1 == 0 { pair & 0xfff } else { pair >> 4 };
                classify(value.into(), 0xff7)
            }
            FatKind::Fat16 => {
                let value = u16::from_le_bytes(self.read(source, geometry, wide.saturating_mul(2))?);
                classify(value.into(), 0xfff7)
            }
            FatKind::Fat32 => {
                let value = u32::from_le_bytes(self.read(source, geometry, wide.saturating_mul(4))?);
                classify(value & 0x0fff_ffff, 0x0fff_fff7)
            }
        })
    }

    /// Reads the bytes of an entry.
    fn read<const N: usize>(
        &self,
        source: &dyn ByteSource,
        geometry: &Geometry,
        offset: u64,
    ) -> Result<[u8; N], ReadError> {
        let number = offset >> BLOCK_LEN.trailing_zeros();
        let start = number << BLOCK_LEN.trailing_zeros();
        let mut blocks = self.blocks.take();
        match blocks.iter().position(|block| block.number == number) {
            Some(0) => {}
            Some(position) => blocks.swap(0, position),
            None => {
                let len = geometry.fat_len.saturating_sub(start).min(BLOCK_LEN);
                let len = usize::try_from(len).unwrap_or_default();
                let mut bytes = if blocks.len() < MAX_BLOCKS {
                    Vec::new()
                } else {
                    blocks.pop().map(|block| block.bytes).unwrap_or_default()
                };
                bytes.clear();
                bytes.resize(len, 0);
                // An error drops the cache.
                source.read_exact_at(geometry.fat_offset.saturating_add(start), &mut bytes)?;
                blocks.insert(0, Block { number, bytes });
            }
        }
        let start = usize::try_from(offset.saturating_sub(start)).unwrap_or(usize::MAX);
        let entry = blocks
            .first()
            .and_then(|block| block.bytes.get(start..)?.first_chunk().copied());
        self.blocks.set(blocks);
        // The FAT is as long as its clusters need, see `Geometry`.
        Ok(entry.unwrap_or([0; N]))
    }
}

/// The meaning of an entry, where `bad` is the value of a damaged cluster.
fn classify(value: u32, bad: u32) -> Link {
    match value {
        0 => Link::Free,
        value if value == bad => Link::Bad,
        value if value > bad => Link::End,
        value => Link::Next(value),
    }
}
