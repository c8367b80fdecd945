//! Directories. The blocks of a hash tree look like unused entries, so that all are read as lists.

use alloc::vec;
use core::ops::ControlFlow;

use boot_core::{ByteSource, arith};
use zerocopy::FromBytes;

use crate::blocks::Blocks;
use crate::error::{Ext4Error, InodeDefect};
use crate::inode::Inode;
use crate::limits::MAX_DIRECTORY_LEN;
use crate::raw::{DirectoryEntry, incompat};

/// Smallest length of the reads of a directory.
const CHUNK: u32 = 16 << 10;
/// Smallest length of an entry.
const MIN_ENTRY: u32 = 12;

/// An entry of a directory.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry<'a> {
    pub(crate) name: &'a [u8],
    pub(crate) inode: u32,
    /// Offset of the next entry.
    pub(crate) next: u64,
}

impl<S: ByteSource> Blocks<S> {
    /// Calls `visit` for the entries from an offset on, with `.` and `..`, until it breaks or the directory ends.
    pub(crate) fn entries(
        &self,
        directory: &Inode,
        from: u64,
        visit: &mut dyn FnMut(&Entry<'_>) -> Result<ControlFlow<()>, Ext4Error>,
    ) -> Result<(), Ext4Error> {
        let len = directory.len();
        if len > MAX_DIRECTORY_LEN {
            return Err(directory.error(InodeDefect::DirectoryTooLong { len }));
        }
        let extents = self.extents(directory)?;
        let block_size = self.geometry.block_size;
        // Entries are found from the start of their block on.
        let mut position = arith::align_down(from, block_size.into());
        let chunk_len = usize::try_from(block_size.max(CHUNK)).unwrap_or_default();
        let mut chunk = vec![0; chunk_len.min(usize::try_from(len).unwrap_or(chunk_len))];
        while position < len {
            let left = usize::try_from(len.saturating_sub(position)).unwrap_or(usize::MAX);
            let take = left.min(chunk_len);
            let Some(bytes) = chunk.get_mut(..take) else {
                break;
            };
            extents.read(&self.source, position, bytes)?;
            for block in bytes.chunks(usize::try_from(block_size).unwrap_or(usize::MAX)) {
                if self
                    .block_entries(directory, block, position, from, visit)?
                    .is_break()
                {
                    return Ok(());
                }
                position = position.saturating_add(arith::to_u64(block.len()));
            }
        }
        Ok(())
    }

    /// The entries of one block, which is at the offset `start` of its directory.
    fn block_entries(
        &self,
        directory: &Inode,
        block: &[u8],
        start: u64,
        from: u64,
        visit: &mut dyn FnMut(&Entry<'_>) -> Result<ControlFlow<()>, Ext4Error>,
    ) -> Result<ControlFlow<()>, Ext4Error> {
        let mut rest = block;
        let mut offset = start;
        while !rest.is_empty() {
            let (entry, name) = self.entry(rest).map_err(|(rec_len, name_len)| {
                directory.error(InodeDefect::DirectoryEntry {
                    offset,
                    rec_len,
                    name_len,
                })
            })?;
            let (taken, after) = rest.split_at_checked(entry).unwrap_or((rest, &[]));
            let inode = taken.first_chunk().map_or(0, |bytes| u32::from_le_bytes(*bytes));
            let next = offset.saturating_add(arith::to_u64(taken.len()));
            // No file has such a name: it would be another path.
            let is_name = !name.is_empty() && !name.iter().any(|byte| matches!(byte, 0 | b'/'));
            if inode != 0 && is_name && offset >= from && visit(&Entry { name, inode, next })?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
            (rest, offset) = (after, next);
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Length and name of the entry at the start of `bytes`, which end with the block; otherwise its two lengths.
    fn entry<'a>(&self, bytes: &'a [u8]) -> Result<(usize, &'a [u8]), (u32, u16)> {
        let (header, after) = DirectoryEntry::ref_from_prefix(bytes).map_err(|_too_short| (0, 0))?;
        let name_len = if self.geometry.incompat & incompat::FILETYPE == 0 {
            u16::from_le_bytes([header.name_len, header.file_type])
        } else {
            header.name_len.into()
        };
        // In blocks of 64 KiB, 0 and 65,535 are the length of the block.
        let rec_len = match header.rec_len.get() {
            0 | u16::MAX if self.geometry.block_size == 1 << 16 => 1 << 16,
            len => u32::from(len),
        };
        let malformed = (rec_len, name_len);
        let header_len = u32::try_from(size_of::<DirectoryEntry>()).unwrap_or(u32::MAX);
        let needed = header_len.saturating_add(name_len.into()).max(MIN_ENTRY);
        let len = usize::try_from(rec_len).map_err(|_too_long| malformed)?;
        if rec_len < needed || rec_len & 3 != 0 || len > bytes.len() {
            return Err(malformed);
        }
        Ok((len, after.get(..usize::from(name_len)).ok_or(malformed)?))
    }
}
