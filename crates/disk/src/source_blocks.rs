//! Blocks of a byte source.

use alloc::boxed::Box;

use boot_core::{ByteSource, ReadError};

use crate::block::{BlockDevice, BlockError, BlockErrorKind, BlockSize, check_request};

/// A [`ByteSource`], such as a file or a [`Window`](crate::Window) for a partition, as a read-only [`BlockDevice`].
///
/// Bytes after the last whole block are not part of the device.
#[derive(Clone, Debug)]
pub struct SourceBlocks<S> {
    source: S,
    block_size: BlockSize,
    block_count: u64,
}

impl<S: ByteSource> SourceBlocks<S> {
    /// The blocks of `source`.
    ///
    /// # Errors
    ///
    /// The error of [`ByteSource::len`].
    pub fn new(source: S, block_size: BlockSize) -> Result<Self, ReadError> {
        let block_count = block_size.blocks_in(source.len()?);
        Ok(Self {
            source,
            block_size,
            block_count,
        })
    }
}

impl<S: ByteSource> BlockDevice for SourceBlocks<S> {
    fn block_size(&self) -> BlockSize {
        self.block_size
    }

    fn block_count(&self) -> u64 {
        self.block_count
    }

    fn read_blocks(&self, first: u64, buf: &mut [u8]) -> Result<(), BlockError> {
        let count = check_request(self, first, buf.len())?;
        // `check_request` has shown that the last byte is below `u64::MAX`.
        let offset = self.block_size.offset_of(first).unwrap_or(u64::MAX);
        self.source
            .read_exact_at(offset, buf)
            .map_err(|error| BlockError::new(first, count, BlockErrorKind::Device(Box::new(error))))
    }
}
