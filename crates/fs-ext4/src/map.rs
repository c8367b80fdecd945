//! The blocks of a file.

use boot_core::{ByteSource, SourceRange};
use disk::Extents;
use zerocopy::FromBytes;
use zerocopy::little_endian::U32;

use crate::blocks::Blocks;
use crate::error::{Ext4Error, InodeDefect};
use crate::inode::Inode;
use crate::limits::{MAX_DEPTH, MAX_MAP_BLOCKS, MAX_PIECES};
use crate::raw::{EXTENT_MAGIC, Extent, ExtentHeader, ExtentIndex, inode_flags};

/// Number of blocks whose numbers are in the inode itself.
const DIRECT: u64 = 12;
/// Largest length of an extent with data; longer ones have none.
const MAX_INITIALISED: u16 = 32768;

impl<S: ByteSource> Blocks<S> {
    /// The pieces of a file or directory.
    pub(crate) fn extents(&self, inode: &Inode) -> Result<Extents, Ext4Error> {
        for (flag, defect) in [
            (inode_flags::COMPRESSED, InodeDefect::Compressed),
            (inode_flags::ENCRYPTED, InodeDefect::Encrypted),
            (inode_flags::INLINE_DATA, InodeDefect::InlineData),
        ] {
            if inode.has(flag) {
                return Err(inode.error(defect));
            }
        }
        let len = inode.len();
        let wanted = len.div_ceil(self.geometry.block_size.into());
        if wanted > 1 << 32 {
            return Err(inode.error(InodeDefect::TooLong { len }));
        }
        let mut map = Map {
            blocks: self,
            inode,
            wanted,
            extents: Extents::new(),
            next: 0,
            read_blocks: 0,
        };
        if inode.has(inode_flags::EXTENTS) {
            map.node(&inode.raw.block, None)?;
        } else {
            map.numbers()?;
        }
        map.hole_until(wanted)?;
        let mut extents = map.extents;
        extents.truncate(len);
        Ok(extents)
    }
}

/// Collects the pieces of a file.
struct Map<'a, S> {
    blocks: &'a Blocks<S>,
    inode: &'a Inode,
    /// Number of blocks of the file.
    wanted: u64,
    extents: Extents,
    /// Block of the file after the last piece.
    next: u64,
    /// Number of blocks with numbers of blocks that were read.
    read_blocks: usize,
}

impl<S: ByteSource> Map<'_, S> {
    fn bytes(&self, blocks: u64) -> u64 {
        // At most 2³² blocks of 64 KiB.
        blocks.saturating_mul(self.blocks.geometry.block_size.into())
    }

    fn check_pieces(&self) -> Result<(), Ext4Error> {
        if self.extents.pieces().len() > MAX_PIECES {
            return Err(self.inode.error(InodeDefect::TooManyPieces));
        }
        Ok(())
    }

    /// Adds a hole up to a block of the file.
    fn hole_until(&mut self, block: u64) -> Result<(), Ext4Error> {
        let len = self.bytes(block.saturating_sub(self.next));
        if self.extents.push_hole(len).is_err() {
            return Err(self.inode.error(InodeDefect::TooManyPieces));
        }
        self.next = self.next.max(block);
        self.check_pieces()
    }

    /// Adds blocks of the volume from `start` on as those of the file from `block` on. Blocks after the end of the file are left out.
    fn add(&mut self, block: u64, count: u64, start: u64) -> Result<(), Ext4Error> {
        let geometry = &self.blocks.geometry;
        let outside = InodeDefect::OutsideVolume { block: start, count };
        if geometry.offset_of(start, count).is_none() {
            return Err(self.inode.error(outside));
        }
        let count = count.min(self.wanted.saturating_sub(block));
        if count == 0 {
            return Ok(());
        }
        self.hole_until(block)?;
        // Blocks that are in the journal are pieces of their own.
        let end = start.saturating_add(count);
        let mut at = start;
        for (number, copy) in self.blocks.overlay.range(start..end) {
            self.push(at, number.saturating_sub(at))?;
            if copy.is_escaped {
                return Err(self.inode.error(InodeDefect::EscapedData { block: number }));
            }
            self.push_bytes(copy.offset, self.bytes(1))?;
            at = number.saturating_add(1);
        }
        self.push(at, end.saturating_sub(at))?;
        self.next = block.saturating_add(count);
        self.check_pieces()
    }

    fn push(&mut self, start: u64, count: u64) -> Result<(), Ext4Error> {
        if count == 0 {
            return Ok(());
        }
        let offset = self.blocks.geometry.offset_of(start, count).unwrap_or(u64::MAX);
        self.push_bytes(offset, self.bytes(count))
    }

    fn push_bytes(&mut self, offset: u64, len: u64) -> Result<(), Ext4Error> {
        let range = SourceRange::new(offset, len);
        match range.map(|range| self.extents.push(range)) {
            Some(Ok(())) => self.check_pieces(),
            _ => Err(self.inode.error(InodeDefect::TooManyPieces)),
        }
    }

    /// Reads a block with extents, or numbers of blocks.
    fn map_block(&mut self, number: u64) -> Result<alloc::rc::Rc<[u8]>, Ext4Error> {
        self.read_blocks = self.read_blocks.saturating_add(1);
        if self.read_blocks > MAX_MAP_BLOCKS {
            return Err(self.inode.error(InodeDefect::TooManyMapBlocks));
        }
        let outside = InodeDefect::OutsideVolume {
            block: number,
            count: 1,
        };
        self.blocks
            .block(number)?
            .ok_or_else(|| self.inode.error(outside))
    }

    /// Adds the extents of a node of the tree, and of the nodes below it. `depth` is that of the node, which the inode chooses for its own.
    fn node(&mut self, bytes: &[u8], depth: Option<u16>) -> Result<(), Ext4Error> {
        let Ok((header, entries)) = ExtentHeader::ref_from_prefix(bytes) else {
            return Ok(());
        };
        let (magic, count) = (header.magic.get(), header.entries.get());
        let found = header.depth.get();
        let malformed = self.inode.error(InodeDefect::ExtentNode {
            magic,
            depth: found,
            entries: count,
        });
        let is_depth = depth.map_or(found <= MAX_DEPTH, |depth| depth == found);
        if magic != EXTENT_MAGIC || !is_depth {
            return Err(malformed);
        }
        let Some(below) = found.checked_sub(1) else {
            let Ok((extents, _)) = <[Extent]>::ref_from_prefix_with_elems(entries, count.into()) else {
                return Err(malformed);
            };
            return extents.iter().try_for_each(|extent| self.extent(extent));
        };
        let Ok((indices, _)) = <[ExtentIndex]>::ref_from_prefix_with_elems(entries, count.into()) else {
            return Err(malformed);
        };
        for index in indices {
            if u64::from(index.block.get()) >= self.wanted {
                break;
            }
            let leaf = u64::from(index.leaf_hi.get()) << 32 | u64::from(index.leaf_lo.get());
            let bytes = self.map_block(leaf)?;
            self.node(&bytes, Some(below))?;
        }
        Ok(())
    }

    fn extent(&mut self, extent: &Extent) -> Result<(), Ext4Error> {
        let block = extent.block.get();
        let first = u64::from(block);
        let len = extent.len.get();
        if first < self.next || len == 0 {
            return Err(self.inode.error(InodeDefect::ExtentOrder { block }));
        }
        if len > MAX_INITIALISED {
            let end = first.saturating_add(len.saturating_sub(MAX_INITIALISED).into());
            return self.hole_until(end.min(self.wanted));
        }
        let start = u64::from(extent.start_hi.get()) << 32 | u64::from(extent.start_lo.get());
        self.add(first, len.into(), start)
    }

    /// Adds the blocks of a file without extents.
    fn numbers(&mut self) -> Result<(), Ext4Error> {
        let inode = self.inode;
        let Ok(numbers) = <[U32]>::ref_from_bytes(&inode.raw.block) else {
            return Ok(());
        };
        let mut numbers = numbers.iter().map(|number| number.get());
        for block in 0..DIRECT {
            let number = numbers.next().filter(|_| block < self.wanted);
            if let Some(number @ 1..) = number {
                self.add(block, 1, number.into())?;
            }
        }
        let per_block = u64::from(self.blocks.geometry.block_size >> 2);
        let (mut first, mut span) = (DIRECT, per_block);
        for (number, level) in numbers.zip(1..) {
            self.indirect(number, level, first, span)?;
            first = first.saturating_add(span);
            span = span.saturating_mul(per_block);
        }
        if self.wanted > first {
            let len = self.inode.len();
            return Err(self.inode.error(InodeDefect::TooLong { len }));
        }
        Ok(())
    }

    /// Adds the `span` blocks of the file from `first` on, whose numbers are behind the block `number`.
    fn indirect(&mut self, number: u32, level: u32, first: u64, span: u64) -> Result<(), Ext4Error> {
        if number == 0 || first >= self.wanted {
            return Ok(());
        }
        let bytes = self.map_block(number.into())?;
        let Ok(numbers) = <[U32]>::ref_from_bytes(&bytes) else {
            return Ok(());
        };
        let per_block = u64::from(self.blocks.geometry.block_size >> 2);
        let below = span.checked_div(per_block).unwrap_or(1);
        let mut block = first;
        for number in numbers {
            if block >= self.wanted {
                break;
            }
            match (number.get(), level) {
                (0, _) => {}
                (number, 1) => self.add(block, 1, number.into())?,
                (number, _) => self.indirect(number, level.saturating_sub(1), block, below)?,
            }
            block = block.saturating_add(below);
        }
        Ok(())
    }
}
