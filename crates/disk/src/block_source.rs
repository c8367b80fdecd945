//! Bytes of a block device.

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;
use core::cell::Cell;
use core::fmt;

use boot_core::{ByteSource, ReadError, ReadErrorKind, arith};

use crate::block::{BlockDevice, BlockError, BlockSize};

/// The bytes of a [`BlockDevice`] as a [`ByteSource`].
///
/// A read goes straight to the caller's buffer in requests of up to [`BlockDevice::max_transfer`] bytes. Only a part of a block
/// at the start or end of the read is copied from a buffer of one block, which remains as a cache for reads of headers.
/// The cache does not see writes to the device: use [`forget`](Self::forget) after them.
pub struct BlockSource<D> {
    device: D,
    block_size: BlockSize,
    len: u64,
    /// Block in the cache. It is taken out during requests: a device may read from its own source meanwhile.
    cache: Cell<Option<CachedBlock>>,
}

struct CachedBlock {
    number: u64,
    bytes: Vec<u8>,
}

impl<D: BlockDevice> BlockSource<D> {
    /// The bytes of `device`. A device that claims more than `u64::MAX` bytes has its last whole block below that.
    pub fn new(device: D) -> Self {
        let block_size = device.block_size();
        let last_end = arith::align_down(u64::MAX, block_size.as_u64());
        let len = block_size.offset_of(device.block_count()).unwrap_or(last_end);
        Self {
            device,
            block_size,
            len,
            cache: Cell::new(None),
        }
    }

    /// The device.
    pub const fn device(&self) -> &D {
        &self.device
    }

    /// Empties the cache.
    pub fn forget(&self) {
        self.cache.set(None);
    }

    /// Copies a part of one block, from `start` bytes after its beginning, to `buf`.
    fn read_part(&self, number: u64, start: usize, buf: &mut [u8]) -> Result<(), BlockError> {
        let block = match self.cache.take() {
            Some(block) if block.number == number => block,
            other => {
                let mut bytes =
                    other.map_or_else(|| vec![0; self.block_size.as_usize()], |block| block.bytes);
                // An error leaves the cache empty.
                self.device.read_blocks(number, &mut bytes)?;
                CachedBlock { number, bytes }
            }
        };
        let part = block.bytes.get(start..).and_then(|rest| rest.get(..buf.len()));
        if let Some(part) = part {
            buf.copy_from_slice(part);
        }
        self.cache.set(Some(block));
        Ok(())
    }

    /// Reads whole blocks in requests that the device can take.
    fn read_whole(&self, first: u64, buf: &mut [u8]) -> Result<(), BlockError> {
        let block_size = self.block_size.as_usize();
        let blocks = self
            .device
            .max_transfer()
            .checked_div(block_size)
            .unwrap_or(1)
            .max(1);
        let request = blocks.saturating_mul(block_size);
        let mut next = first;
        for chunk in buf.chunks_mut(request) {
            self.device.read_blocks(next, chunk)?;
            next = next.saturating_add(self.block_size.blocks_in(arith::to_u64(chunk.len())));
        }
        Ok(())
    }

    fn read(&self, offset: u64, buf: &mut [u8]) -> Result<(), BlockError> {
        if buf.is_empty() {
            return Ok(());
        }
        let size = self.block_size.as_usize();
        let mut number = self.block_size.blocks_in(offset);
        let start = to_usize(offset & self.block_size.as_u64().wrapping_sub(1));
        let mut rest = buf;
        if start > 0 {
            let head = size.saturating_sub(start).min(rest.len());
            let (part, after) = rest.split_at_mut(head);
            self.read_part(number, start, part)?;
            number = number.saturating_add(1);
            rest = after;
        }
        let tail = to_usize(arith::to_u64(rest.len()) & self.block_size.as_u64().wrapping_sub(1));
        let (middle, part) = rest.split_at_mut(rest.len().saturating_sub(tail));
        if !middle.is_empty() {
            self.read_whole(number, middle)?;
        }
        if !part.is_empty() {
            let count = self.block_size.blocks_in(arith::to_u64(middle.len()));
            self.read_part(number.saturating_add(count), 0, part)?;
        }
        Ok(())
    }
}

/// An offset inside a block, which is at most 64 KiB long.
fn to_usize(offset: u64) -> usize {
    usize::try_from(offset).unwrap_or(usize::MAX)
}

impl<D: BlockDevice> ByteSource for BlockSource<D> {
    fn len(&self) -> Result<u64, ReadError> {
        Ok(self.len)
    }

    fn read_exact_at(&self, offset: u64, buf: &mut [u8]) -> Result<(), ReadError> {
        match offset.checked_add(arith::to_u64(buf.len())) {
            Some(end) if end <= self.len => {}
            _ => {
                return Err(ReadError::new(
                    offset,
                    buf.len(),
                    ReadErrorKind::PastEnd(self.len),
                ));
            }
        }
        let len = buf.len();
        self.read(offset, buf)
            .map_err(|error| ReadError::new(offset, len, ReadErrorKind::Source(Box::new(error))))
    }
}

impl<D: fmt::Debug> fmt::Debug for BlockSource<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BlockSource")
            .field("device", &self.device)
            .field("len", &self.len)
            .finish_non_exhaustive()
    }
}
