//! A byte source that reads blocks and keeps the last ones.

use alloc::vec::Vec;
use core::cell::{Cell, RefCell};
use core::fmt;

use super::{BackingStore, ByteSource, ReadError};
use crate::arith;

/// Length of a block in bytes, a power of two.
const BLOCK: usize = 0x2000;

/// The number of blocks that are kept: headers are at the start of a file, notes and tables at one or two other places.
const BLOCKS: usize = 4;

/// A [`ByteSource`] that reads another one in blocks of 8 KiB and keeps the last four of them, for parsers, which make many small reads at few places.
///
/// Reads of more than a block go to the source. The length is read once. [`detect`](crate::detect) reads through a cache of its own; other callers of
/// [`KernelFormat::parse`](crate::KernelFormat::parse) can use one, too.
///
/// ```
/// use boot_core::{CachedSource, SizedSource};
///
/// let file = vec![7; 0x3000];
/// let cached = CachedSource::new(&file);
/// let source = SizedSource::new(&cached)?;
/// // One read of the file.
/// assert_eq!(source.read::<[u8; 2]>(0x1000)?, [7, 7]);
/// assert_eq!(source.read::<[u8; 4]>(0x1ffc)?, [7; 4]);
/// # Ok::<(), boot_core::ReadError>(())
/// ```
pub struct CachedSource<'a> {
    inner: &'a dyn ByteSource,
    len: Cell<Option<u64>>,
    /// The one that was used last comes first.
    blocks: RefCell<[Block; BLOCKS]>,
}

/// A block of the source.
#[derive(Default)]
struct Block {
    /// Offset in the source.
    start: u64,
    /// Shorter than a block at the end of the source, empty before the first read.
    bytes: Vec<u8>,
}

impl<'a> CachedSource<'a> {
    /// A cache without blocks.
    #[must_use]
    pub fn new(inner: &'a dyn ByteSource) -> Self {
        Self {
            inner,
            len: Cell::new(None),
            blocks: RefCell::default(),
        }
    }

    /// Fills `buf` from one block. `None` if the block cannot be read or lacks the bytes.
    fn read_in_block(&self, start: u64, skip: usize, buf: &mut [u8]) -> Option<()> {
        let mut blocks = self.blocks.try_borrow_mut().ok()?;
        let is_there = |block: &Block| block.start == start && !block.bytes.is_empty();
        let found = blocks.iter().position(is_there);
        // The oldest one is replaced.
        blocks.get_mut(..=found.unwrap_or(BLOCKS - 1))?.rotate_right(1);
        let block = blocks.first_mut()?;
        if found.is_none() {
            self.fill(block, start)?;
        }
        buf.copy_from_slice(block.bytes.get(skip..)?.get(..buf.len())?);
        Some(())
    }

    /// Reads the bytes from `start` into `block`, which stays empty if they cannot be read.
    fn fill(&self, block: &mut Block, start: u64) -> Option<()> {
        block.bytes.clear();
        block.start = start;
        let left = ByteSource::len(self).ok()?.saturating_sub(start);
        let len = usize::try_from(left).unwrap_or(usize::MAX).min(BLOCK);
        block.bytes.resize(len, 0);
        let result = self.inner.read_exact_at(start, &mut block.bytes);
        if result.is_err() {
            block.bytes.clear();
        }
        result.ok()
    }

    /// Fills `buf` from blocks. `None` if one cannot be read or lacks bytes.
    fn read_blocks(&self, offset: u64, buf: &mut [u8]) -> Option<()> {
        const LEN: u64 = arith::to_u64(BLOCK);
        let start = offset & !(LEN - 1);
        let skip = usize::try_from(offset & (LEN - 1)).ok()?;
        let in_first = BLOCK.saturating_sub(skip).min(buf.len());
        let (first, second) = buf.split_at_mut_checked(in_first)?;
        self.read_in_block(start, skip, first)?;
        if second.is_empty() {
            return Some(());
        }
        self.read_in_block(start.checked_add(LEN)?, 0, second)
    }
}

impl ByteSource for CachedSource<'_> {
    fn len(&self) -> Result<u64, ReadError> {
        if let Some(len) = self.len.get() {
            return Ok(len);
        }
        let len = self.inner.len()?;
        self.len.set(Some(len));
        Ok(len)
    }

    fn read_exact_at(&self, offset: u64, buf: &mut [u8]) -> Result<(), ReadError> {
        if buf.len() <= BLOCK && self.read_blocks(offset, buf).is_some() {
            return Ok(());
        }
        // A block may fail where these bytes can be read; otherwise this error names them.
        self.inner.read_exact_at(offset, buf)
    }

    fn backing_store(&self) -> BackingStore<'_> {
        self.inner.backing_store()
    }
}

impl fmt::Debug for CachedSource<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CachedSource")
            .field("len", &self.len)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ReadErrorKind, SizedSource};

    /// Counts reads, and fails at every read that has a byte from `bad` on.
    struct Counting {
        bytes: Vec<u8>,
        reads: Cell<usize>,
        lens: Cell<usize>,
        bad: u64,
    }

    impl Counting {
        fn new(len: u16, bad: u64) -> Self {
            Self {
                bytes: (0..len).flat_map(u16::to_le_bytes).collect(),
                reads: Cell::new(0),
                lens: Cell::new(0),
                bad,
            }
        }
    }

    impl ByteSource for Counting {
        fn len(&self) -> Result<u64, ReadError> {
            self.lens.set(self.lens.get() + 1);
            ByteSource::len(&self.bytes)
        }

        fn read_exact_at(&self, offset: u64, buf: &mut [u8]) -> Result<(), ReadError> {
            self.reads.set(self.reads.get() + 1);
            if offset.saturating_add(arith::to_u64(buf.len())) > self.bad {
                return Err(ReadError::new(offset, buf.len(), ReadErrorKind::Shrunk));
            }
            self.bytes.read_exact_at(offset, buf)
        }
    }

    #[test]
    fn every_read_is_that_of_the_source() {
        let file = Counting::new(0x2345, u64::MAX);
        let cached = CachedSource::new(&file);
        let mut offset = 0_u64;
        for (step, len) in [0, 1, 2, 12, 0x40, 0xfff, 0x1000, 0x1001, 0x2800]
            .iter()
            .cycle()
            .take(3000)
            .enumerate()
        {
            offset = (offset + arith::to_u64(step) * 0x123) % 0x4700;
            let (mut found, mut expected) = (alloc::vec![0; *len], alloc::vec![0; *len]);
            let text = |error: ReadError| std::format!("{error:?}");
            let result = file.bytes.read_exact_at(offset, &mut expected).map_err(text);
            assert_eq!(cached.read_exact_at(offset, &mut found).map_err(text), result);
            assert!(
                result.is_err() || found == expected,
                "{len:#x} bytes from {offset:#x}"
            );
        }
        assert!(cached.read_exact_at(u64::MAX, &mut [0; 2]).is_err());
    }

    #[test]
    fn small_reads_at_four_places_read_four_blocks() {
        let file = Counting::new(0x8000, u64::MAX);
        let cached = CachedSource::new(&file);
        for round in 0..64 {
            for place in [0x0, 0x4f00, 0xc000, 0x9f00] {
                let source = SizedSource::new(&cached).unwrap();
                let found: [u8; 2] = source.read(place + 2 * round).unwrap();
                assert_eq!(u64::from(u16::from_le_bytes(found)), place / 2 + round);
            }
        }
        assert_eq!((file.reads.get(), file.lens.get()), (4, 1));
        // A fifth replaces the one whose use is the longest ago.
        cached.read_exact_at(0x2000, &mut [0; 2]).unwrap();
        cached.read_exact_at(0xc000, &mut [0; 2]).unwrap();
        assert_eq!(file.reads.get(), 5);
        cached.read_exact_at(0x0, &mut [0; 2]).unwrap();
        assert_eq!(file.reads.get(), 6);
    }

    #[test]
    fn a_block_that_fails_takes_no_readable_byte_with_it() {
        let file = Counting::new(0x1000, 0x1008);
        let cached = CachedSource::new(&file);
        let mut buf = [0; 4];
        cached.read_exact_at(0x1000, &mut buf).unwrap();
        assert_eq!(buf, [0, 8, 1, 8]);
        let error = cached.read_exact_at(0x1006, &mut buf).unwrap_err();
        assert_eq!((error.range.offset(), error.range.len()), (0x1006, 4));
    }
}
