//! Replay of the journal in memory (`Documentation/filesystems/ext4/journal.rst`).
//!
//! Checksums are not verified: a transaction counts if its commit block is there, which is written after the others. Fast commits are left
//! out: the volume is then as at the last full commit.

use alloc::vec;
use alloc::vec::Vec;

use boot_core::ByteSource;
use disk::Extents;
use zerocopy::{FromBytes, FromZeros, IntoBytes};

use crate::blocks::Blocks;
use crate::error::{Ext4Error, JournalDefect};
use crate::limits::MAX_JOURNAL_ENTRIES;
use crate::overlay::{self, Copied, Overlay, keep_last};
use crate::raw::{
    JOURNAL_MAGIC, JournalHeader, JournalSuperblock, journal_block, journal_incompat, tag_flags,
};

/// Features that are supported.
const SUPPORTED: u32 = journal_incompat::REVOKE
    | journal_incompat::BIT64
    | journal_incompat::CSUM_V2
    | journal_incompat::CSUM_V3
    | journal_incompat::FAST_COMMIT;

/// Number of blocks for fast commits where the superblock has none.
const DEFAULT_FAST_COMMIT: u32 = 256;
/// Length of the header of a revoke block.
const REVOKE_HEADER: usize = 16;
/// Length of an identifier after a tag.
const UUID_LEN: usize = 16;

/// Reads the journal with this inode.
pub(crate) fn replay<S: ByteSource>(blocks: &Blocks<S>, inode: u32) -> Result<Overlay, Ext4Error> {
    let inode = blocks.inode(inode)?;
    let extents = blocks.extents(&inode)?;
    let mut raw = JournalSuperblock::new_zeroed();
    let field = |field, found| Ext4Error::Journal(JournalDefect::Field { field, found });
    extents.read(&blocks.source, 0, raw.as_mut_bytes())?;
    let (magic, kind) = (raw.header.magic.get(), raw.header.kind.get());
    if magic != JOURNAL_MAGIC {
        return Err(field("h_magic", magic));
    }
    let features = match kind {
        journal_block::SUPERBLOCK_V1 => 0,
        journal_block::SUPERBLOCK_V2 => raw.feature_incompat.get(),
        _ => return Err(field("h_blocktype", kind)),
    };
    let bits = features & !SUPPORTED;
    if bits != 0 {
        return Err(Ext4Error::Journal(JournalDefect::Features { bits }));
    }
    let block_size = blocks.geometry.block_size;
    if raw.blocksize.get() != block_size {
        return Err(field("s_blocksize", raw.blocksize.get()));
    }
    let maxlen = raw.maxlen.get();
    if u64::from(maxlen).saturating_mul(block_size.into()) > extents.len() {
        return Err(field("s_maxlen", maxlen));
    }
    let mut end = maxlen;
    if features & journal_incompat::FAST_COMMIT != 0 {
        let reserved = match raw.num_fc_blocks.get() {
            0 => DEFAULT_FAST_COMMIT,
            reserved => reserved,
        };
        end = end.saturating_sub(reserved);
    }
    let (first, start) = (raw.first.get(), raw.start.get());
    if first == 0 || first >= end {
        return Err(field("s_first", first));
    }
    if start == 0 {
        return Ok(Overlay::new());
    }
    if !(first..end).contains(&start) {
        return Err(field("s_start", start));
    }
    let mut log = Log {
        blocks,
        extents: &extents,
        features,
        first,
        end,
        position: start,
        left: end.saturating_sub(first),
        replay: Replay::default(),
    };
    log.read(raw.sequence.get())?;
    log.replay.finish()
}

/// The blocks of a journal from a position on.
struct Log<'a, S> {
    blocks: &'a Blocks<S>,
    extents: &'a Extents,
    features: u32,
    /// First block, and block after the last.
    first: u32,
    end: u32,
    position: u32,
    /// Number of blocks that were not read.
    left: u32,
    replay: Replay,
}

/// What the transactions change.
#[derive(Default)]
struct Replay {
    /// Number of the transaction, from 0.
    transaction: u32,
    /// Changes of the transaction that is being read.
    written: Vec<(u64, Copied)>,
    revoked: Vec<u64>,
    /// Changes of all complete transactions, with the last transaction.
    all_written: Vec<(u64, (u32, Copied))>,
    all_revoked: Vec<(u64, u32)>,
}

impl<S: ByteSource> Log<'_, S> {
    fn has(&self, feature: u32) -> bool {
        self.features & feature != 0
    }

    /// Takes the next block: its offset in the journal. `None` after the last.
    fn next(&mut self) -> Option<u64> {
        self.left = self.left.checked_sub(1)?;
        let at = u64::from(self.position).checked_mul(self.blocks.geometry.block_size.into());
        self.position = match self.position.saturating_add(1) {
            end if end >= self.end => self.first,
            next => next,
        };
        at
    }

    /// Reads complete transactions from number `sequence` on, until a block does not belong to them.
    fn read(&mut self, mut sequence: u32) -> Result<(), Ext4Error> {
        let mut bytes = vec![0; usize::try_from(self.blocks.geometry.block_size).unwrap_or_default()];
        while let Some(at) = self.next() {
            self.extents.read(&self.blocks.source, at, &mut bytes)?;
            let Ok((header, body)) = JournalHeader::ref_from_prefix(&bytes) else {
                break;
            };
            if header.magic.get() != JOURNAL_MAGIC || header.sequence.get() != sequence {
                break;
            }
            match header.kind.get() {
                journal_block::DESCRIPTOR => {
                    if self.descriptor(body).is_none() {
                        break;
                    }
                }
                journal_block::REVOKE => self.revoke(&bytes),
                journal_block::COMMIT => {
                    self.replay.commit();
                    sequence = sequence.wrapping_add(1);
                }
                _ => break,
            }
            self.replay.check_len()?;
        }
        Ok(())
    }

    /// Reads the tags of a descriptor block; `None` if they do not end with a last tag, or the journal ends before their blocks.
    fn descriptor(&mut self, mut tags: &[u8]) -> Option<()> {
        loop {
            let (block, flags, len) = self.tag(tags)?;
            tags = tags.get(len..)?;
            if flags & tag_flags::SAME_UUID == 0 {
                tags = tags.get(UUID_LEN..)?;
            }
            let at = self.next()?;
            let copy = Copied {
                offset: source_offset(self.extents, at)?,
                is_escaped: flags & tag_flags::ESCAPED != 0,
            };
            if self.blocks.geometry.offset_of(block, 1).is_some() {
                self.replay.written.push((block, copy));
            }
            if flags & tag_flags::LAST != 0 {
                return Some(());
            }
        }
    }

    /// Block, flags and length of a tag.
    fn tag(&self, bytes: &[u8]) -> Option<(u64, u32, usize)> {
        let word = |at: usize| {
            let bytes = bytes.get(at..)?.first_chunk()?;
            Some(u32::from_be_bytes(*bytes))
        };
        let has_64_bit = self.has(journal_incompat::BIT64);
        let low = u64::from(word(0)?);
        let (flags, high, len) = if self.has(journal_incompat::CSUM_V3) {
            (word(4)?, word(8)?, 16)
        } else {
            let further = if self.has(journal_incompat::CSUM_V2) { 2 } else { 0 };
            let flags = word(4)? & 0xffff;
            if has_64_bit {
                (flags, word(8)?, 12_usize.saturating_add(further))
            } else {
                (flags, 0, 8_usize.saturating_add(further))
            }
        };
        let high = if has_64_bit { u64::from(high) << 32 } else { 0 };
        Some((high | low, flags, len))
    }

    fn revoke(&mut self, bytes: &[u8]) {
        let width = if self.has(journal_incompat::BIT64) { 8 } else { 4 };
        let used = bytes
            .get(12..)
            .and_then(<[u8]>::first_chunk)
            .map_or(0, |used| u32::from_be_bytes(*used));
        let used = usize::try_from(used).unwrap_or(usize::MAX).min(bytes.len());
        let records = bytes.get(REVOKE_HEADER..used).unwrap_or_default();
        self.replay
            .revoked
            .extend(records.chunks_exact(width).map(|record| {
                record
                    .iter()
                    .fold(0_u64, |number, byte| number << 8 | u64::from(*byte))
            }));
    }
}

impl Replay {
    /// Fails if there are more changes than the limit, each block counted once. It is only looked at when the entries are twice as many, so that
    /// they are not sorted over and over.
    fn check_len(&mut self) -> Result<(), Ext4Error> {
        if self.len() <= MAX_JOURNAL_ENTRIES.saturating_mul(2) {
            return Ok(());
        }
        self.merge()
    }

    /// Keeps the last entry of each block.
    fn merge(&mut self) -> Result<(), Ext4Error> {
        keep_last(&mut self.all_written);
        keep_last(&mut self.all_revoked);
        if self.len() > MAX_JOURNAL_ENTRIES {
            return Err(Ext4Error::Journal(JournalDefect::TooLong));
        }
        Ok(())
    }

    fn len(&self) -> usize {
        let written = self.written.len().saturating_add(self.all_written.len());
        let revoked = self.revoked.len().saturating_add(self.all_revoked.len());
        written.max(revoked)
    }

    fn commit(&mut self) {
        let transaction = self.transaction;
        let written = self.written.drain(..);
        self.all_written
            .extend(written.map(|(block, copy)| (block, (transaction, copy))));
        let revoked = self.revoked.drain(..);
        self.all_revoked.extend(revoked.map(|block| (block, transaction)));
        self.transaction = transaction.saturating_add(1);
    }

    /// The blocks that no later transaction, nor their own, revokes.
    fn finish(mut self) -> Result<Overlay, Ext4Error> {
        // What belongs to no complete transaction.
        self.written.clear();
        self.revoked.clear();
        self.merge()?;
        let is_valid = |block: u64, transaction: u32| {
            let revoked = overlay::get(&self.all_revoked, block);
            revoked.is_none_or(|last| last < transaction)
        };
        let blocks = self.all_written.into_iter();
        let valid = blocks
            .filter_map(|(block, (transaction, copy))| is_valid(block, transaction).then_some((block, copy)));
        Ok(Overlay::of(valid.collect()))
    }
}

/// Offset in the source of a byte of a file; `None` in a hole.
fn source_offset(extents: &Extents, at: u64) -> Option<u64> {
    let pieces = extents.pieces();
    let after = pieces.partition_point(|piece| piece.start <= at);
    let piece = pieces.get(after.checked_sub(1)?)?;
    piece.source?.checked_add(at.checked_sub(piece.start)?)
}
