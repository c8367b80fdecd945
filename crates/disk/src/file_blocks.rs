//! The blocks of a file as a block device.

use alloc::vec::Vec;

use boot_core::arith;

use crate::block::{BlockDevice, BlockError, BlockErrorKind, BlockSize, check_request};
use crate::extents::Extents;

/// A run of blocks of the file that follow each other on the device.
#[derive(Clone, Copy, Debug)]
struct Run {
    /// First block in the file.
    start: u64,
    /// Number of blocks.
    count: u64,
    /// First block on the device.
    device: u64,
}

/// The whole blocks of a file as a [`BlockDevice`]: a file system that only reads says where they are, and a user rewrites
/// them in place. Neither the length of the file nor anything else of the file system changes.
///
/// A part of a block at the end of the file is left out. The file must not be moved or shortened meanwhile.
#[derive(Clone, Debug)]
pub struct FileBlocks<D> {
    device: D,
    runs: Vec<Run>,
    count: u64,
}

/// Reason why a file is no sequence of blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FileBlocksError {
    /// A part of the file is not stored.
    #[error("the file has a hole at offset {file_offset:#x}; write all of it once")]
    Hole {
        /// Offset of the hole in the file.
        file_offset: u64,
    },
    /// A piece of the file begins or ends in the middle of a block of the device.
    #[error("the piece of the file at offset {file_offset:#x} is not of whole blocks of {block_size} bytes")]
    Unaligned {
        /// Offset of the piece in the file.
        file_offset: u64,
        /// Block size of the device.
        block_size: BlockSize,
    },
    /// A piece is not on the device.
    #[error(
        "the piece of the file at offset {file_offset:#x} ends past the device, which has {block_count} blocks"
    )]
    PastEnd {
        /// Offset of the piece in the file.
        file_offset: u64,
        /// Number of blocks of the device.
        block_count: u64,
    },
}

impl<D: BlockDevice> FileBlocks<D> {
    /// The blocks of a file with these pieces, whose offsets are those of `device`.
    ///
    /// # Errors
    ///
    /// [`FileBlocksError`] if a piece is a hole, is not of whole blocks, or is past the end of the device.
    pub fn new(device: D, file: &Extents) -> Result<Self, FileBlocksError> {
        let block_size = device.block_size();
        let block_count = device.block_count();
        let mut runs = Vec::new();
        let mut count = 0_u64;
        let last = file.pieces().len().saturating_sub(1);
        for (index, piece) in file.pieces().iter().enumerate() {
            let file_offset = piece.start;
            let source = piece.source.ok_or(FileBlocksError::Hole { file_offset })?;
            let is_whole = index == last || block_size.is_aligned(piece.len);
            if !block_size.is_aligned(source) || !block_size.is_aligned(piece.start) || !is_whole {
                return Err(FileBlocksError::Unaligned {
                    file_offset,
                    block_size,
                });
            }
            let run = Run {
                start: count,
                count: block_size.blocks_in(piece.len),
                device: block_size.blocks_in(source),
            };
            if run
                .device
                .checked_add(run.count)
                .is_none_or(|end| end > block_count)
            {
                return Err(FileBlocksError::PastEnd {
                    file_offset,
                    block_count,
                });
            }
            if run.count > 0 {
                count = count.saturating_add(run.count);
                runs.push(run);
            }
        }
        Ok(Self { device, runs, count })
    }

    /// Calls a function for each part of a request that is one run on the device: first block there, first byte in the buffer, length.
    fn for_each_part(
        &self,
        first: u64,
        len: usize,
        mut action: impl FnMut(u64, usize, usize) -> Result<(), BlockError>,
    ) -> Result<(), BlockError> {
        check_request(self, first, len)?;
        let block_size = self.device.block_size();
        let mut done = 0_usize;
        let start = self
            .runs
            .partition_point(|run| run.start.saturating_add(run.count) <= first);
        for run in self.runs.iter().skip(start) {
            let left = len.saturating_sub(done);
            if left == 0 {
                break;
            }
            let next = first.saturating_add(block_size.blocks_in(arith::to_u64(done)));
            let skip = next.saturating_sub(run.start);
            let room = block_size.offset_of(run.count.saturating_sub(skip));
            let part = room
                .and_then(|room| usize::try_from(room).ok())
                .map_or(left, |room| room.min(left));
            action(run.device.saturating_add(skip), done, part)?;
            done = done.saturating_add(part);
        }
        Ok(())
    }
}

impl<D: BlockDevice> BlockDevice for FileBlocks<D> {
    fn block_size(&self) -> BlockSize {
        self.device.block_size()
    }

    fn block_count(&self) -> u64 {
        self.count
    }

    /// An error names blocks of the file if the request is past its end, otherwise those of the device.
    fn read_blocks(&self, first: u64, buf: &mut [u8]) -> Result<(), BlockError> {
        let len = buf.len();
        self.for_each_part(first, len, |block, start, len| {
            let part = buf.get_mut(start..).and_then(|rest| rest.get_mut(..len));
            let missing = || {
                BlockError::new(
                    block,
                    0,
                    BlockErrorKind::PastEnd {
                        block_count: self.count,
                    },
                )
            };
            self.device.read_blocks(block, part.ok_or_else(missing)?)
        })
    }

    fn max_transfer(&self) -> usize {
        self.device.max_transfer()
    }

    fn is_read_only(&self) -> bool {
        self.device.is_read_only()
    }

    fn write_blocks(&self, first: u64, data: &[u8]) -> Result<(), BlockError> {
        self.for_each_part(first, data.len(), |block, start, len| {
            let part = data.get(start..).and_then(|rest| rest.get(..len));
            let missing = || {
                BlockError::new(
                    block,
                    0,
                    BlockErrorKind::PastEnd {
                        block_count: self.count,
                    },
                )
            };
            self.device.write_blocks(block, part.ok_or_else(missing)?)
        })
    }

    fn flush(&self) -> Result<(), BlockError> {
        self.device.flush()
    }
}
