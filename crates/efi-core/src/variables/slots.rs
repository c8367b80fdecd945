//! The file of non-volatile variables on a disk: two slots that are written in turn.
//!
//! A file system driver that only reads can still rewrite the sectors of a file. The file has a fixed length, and each change is
//! written to the slot that does not have the current variables: first the content, then, after it is on stable storage, the
//! header with a higher sequence number. A write that ends in the middle leaves the other slot as it was.
//!
//! Each half of the file, rounded down to blocks of 4096 bytes, is a slot:
//!
//! | offset | size | content |
//! |---|---|---|
//! | 0 | 8 | `VMBTSLOT` |
//! | 8 | 4 | version, 1 |
//! | 12 | 4 | length of the content in bytes |
//! | 16 | 8 | sequence number; the slot with the higher one is current |
//! | 24 | 4 | CRC32 of the 24 bytes before it |
//! | 28 | 4068 | zeros |
//! | 4096 | | the content, see `file.rs`, then zeros up to a multiple of 4096 |
//!
//! All numbers are little-endian. A slot whose first 4096 bytes are zeros is blank; a file of zeros has no variables.

use alloc::vec;
use alloc::vec::Vec;
use core::fmt;

use super::file::FileError;
use super::store::Variables;
use crate::crc::crc32;

/// Unit of reads and writes in bytes.
pub const FILE_BLOCK: usize = 4096;
/// Shortest file in bytes: a header and one block of content in each slot.
pub const MIN_FILE: u64 = 16 * 1024;
/// Bytes of a slot that are used at most. The store of a firmware is much smaller.
const MAX_SLOT: u64 = 1 << 20;

const MAGIC: [u8; 8] = *b"VMBTSLOT";
const VERSION: u32 = 1;
/// Length of the header without zeros, and of the part with a checksum.
const HEADER: usize = 28;
const SUMMED: usize = 24;

/// The bytes of the file: the sectors of a disk, in order.
pub trait Storage {
    /// Why a request failed.
    type Error;

    /// Length of the file in bytes; it does not change.
    fn len(&self) -> u64;

    /// True for a file of no bytes.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Fills the buffer. Offset and length are multiples of [`FILE_BLOCK`], inside the file.
    ///
    /// # Errors
    ///
    /// Those of the disk.
    fn read(&mut self, offset: u64, buffer: &mut [u8]) -> Result<(), Self::Error>;

    /// Writes data in place, in any order of its sectors. Offset and length are multiples of [`FILE_BLOCK`], inside the file.
    ///
    /// # Errors
    ///
    /// Those of the disk.
    fn write(&mut self, offset: u64, data: &[u8]) -> Result<(), Self::Error>;

    /// Waits until everything that was written is on stable storage.
    ///
    /// # Errors
    ///
    /// Those of the disk.
    fn flush(&mut self) -> Result<(), Self::Error>;
}

/// Reason why a slot is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SlotError {
    /// The slot is not blank and does not begin with the magic number.
    Magic,
    /// The checksum of the header is wrong.
    Checksum {
        /// CRC32 in the header.
        expected: u32,
        /// CRC32 of the header.
        found: u32,
    },
    /// The version is unknown.
    Version {
        /// Version of the slot.
        found: u32,
    },
    /// The content is longer than the slot.
    Length {
        /// Length in the header.
        len: u32,
        /// Length that a content can have.
        capacity: usize,
    },
    /// No higher sequence number exists.
    Sequence,
    /// The content is refused.
    Content(FileError),
}

impl fmt::Display for SlotError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Magic => write!(
                f,
                "neither blank nor a slot of variables, which begins with VMBTSLOT"
            ),
            Self::Checksum { expected, found } => write!(
                f,
                "the CRC32 of the header is {found:#010x}, the header has {expected:#010x}"
            ),
            Self::Version { found } => write!(f, "version {found} of the slot is not supported"),
            Self::Length { len, capacity } => {
                write!(f, "a content of {len} bytes, the slot has room for {capacity}")
            }
            Self::Sequence => write!(f, "the sequence number is the largest one"),
            Self::Content(_) => write!(f, "the variables are refused"),
        }
    }
}

impl core::error::Error for SlotError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Content(error) => Some(error),
            _ => None,
        }
    }
}

/// Failure of an access to a file of variables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SlotFileError<E> {
    /// The file is shorter than [`MIN_FILE`].
    TooShort {
        /// Length of the file.
        len: u64,
    },
    /// No slot has variables that can be used, and at least one is not blank. The file is left as it is.
    Slot {
        /// The slot with the highest sequence number: 0 or 1.
        index: usize,
        /// The reason.
        error: SlotError,
    },
    /// The variables do not fit in a slot.
    Full {
        /// Length of the content in bytes.
        len: usize,
        /// Length that a content can have.
        capacity: usize,
    },
    /// No higher sequence number exists: nothing more can be written. Only a file that was made so has such a number.
    Sequence,
    /// The disk failed.
    Storage(E),
}

impl<E: fmt::Display> fmt::Display for SlotFileError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooShort { len } => write!(
                f,
                "a file of variables has at least {MIN_FILE} bytes, this one has {len}"
            ),
            Self::Slot { index, error } => write!(f, "slot {index} of the file of variables: {error}"),
            Self::Full { len, capacity } => write!(
                f,
                "the variables have {len} bytes, a slot of the file has room for {capacity}"
            ),
            Self::Sequence => write!(
                f,
                "the sequence number of the file of variables is the largest one"
            ),
            Self::Storage(error) => write!(f, "the file of variables: {error}"),
        }
    }
}

impl<E: core::error::Error + 'static> core::error::Error for SlotFileError<E> {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Slot { error, .. } => Some(error),
            Self::Storage(error) => Some(error),
            Self::TooShort { .. } | Self::Full { .. } | Self::Sequence => None,
        }
    }
}

/// A header that is not blank.
#[derive(Clone, Copy)]
struct Header {
    len: usize,
    sequence: u64,
}

impl Header {
    /// The header at the start of a slot; `None` if it is blank.
    fn parse(block: &[u8], capacity: usize) -> Result<Option<Self>, SlotError> {
        if block.iter().all(|byte| *byte == 0) {
            return Ok(None);
        }
        let word = |offset: usize| {
            let bytes = block.get(offset..).and_then(<[u8]>::first_chunk);
            u32::from_le_bytes(*bytes.unwrap_or(&[0; 4]))
        };
        if !block.starts_with(&MAGIC) {
            return Err(SlotError::Magic);
        }
        let found = crc32(block.get(..SUMMED).unwrap_or(&[]));
        let expected = word(SUMMED);
        if found != expected {
            return Err(SlotError::Checksum { expected, found });
        }
        if word(8) != VERSION {
            return Err(SlotError::Version { found: word(8) });
        }
        let len = usize::try_from(word(12)).ok().filter(|len| *len <= capacity);
        let len = len.ok_or(SlotError::Length {
            len: word(12),
            capacity,
        })?;
        let sequence = u64::from(word(16)) | u64::from(word(20)) << 32;
        if sequence == u64::MAX {
            return Err(SlotError::Sequence);
        }
        Ok(Some(Self { len, sequence }))
    }

    fn to_block(self) -> Vec<u8> {
        let mut block = MAGIC.to_vec();
        block.extend_from_slice(&VERSION.to_le_bytes());
        block.extend_from_slice(&u32::try_from(self.len).unwrap_or(u32::MAX).to_le_bytes());
        block.extend_from_slice(&self.sequence.to_le_bytes());
        block.extend_from_slice(&crc32(&block).to_le_bytes());
        debug_assert_eq!(block.len(), HEADER);
        block.resize(FILE_BLOCK, 0);
        block
    }
}

/// A file of variables that is in use.
#[derive(Debug)]
pub struct SlotFile<S> {
    storage: S,
    slot_len: u64,
    /// The slot with the current variables, if one has any, and its sequence number.
    current: Option<usize>,
    sequence: u64,
    /// The content that was loaded or saved last.
    saved: Vec<u8>,
}

impl<S: Storage> SlotFile<S> {
    /// Opens a file and loads its variables in place of the non-volatile ones of the store. A blank file has none, and leaves
    /// the store as it is.
    ///
    /// A slot that is malformed is passed over if the other one has variables: it was being written when the power went.
    ///
    /// # Errors
    ///
    /// [`SlotFileError`]; the store is then as it was, and nothing was written.
    pub fn open<const N: usize>(
        storage: S,
        variables: &mut Variables<N>,
    ) -> Result<Self, SlotFileError<S::Error>> {
        let len = storage.len();
        if len < MIN_FILE {
            return Err(SlotFileError::TooShort { len });
        }
        let block = u64::try_from(FILE_BLOCK).unwrap_or(u64::MAX);
        let half = len.checked_div(2).unwrap_or(0);
        let slot_len = half
            .saturating_sub(half.checked_rem(block).unwrap_or(0))
            .min(MAX_SLOT);
        let mut file = Self {
            storage,
            slot_len,
            current: None,
            sequence: 0,
            saved: Vec::new(),
        };
        let mut slots = Vec::new();
        let mut refused = None;
        for index in [0, 1] {
            let mut block = vec![0; FILE_BLOCK];
            file.storage
                .read(file.start(index), &mut block)
                .map_err(SlotFileError::Storage)?;
            match Header::parse(&block, file.capacity()) {
                Ok(Some(header)) => slots.push((index, header)),
                Ok(None) => (),
                Err(error) => refused = refused.or(Some(SlotFileError::Slot { index, error })),
            }
        }
        slots.sort_unstable_by_key(|(index, header)| (core::cmp::Reverse(header.sequence), *index));
        // The reason of the slot that should have been the current one is the one to report.
        let mut newest = None;
        for (index, header) in slots {
            let content = file.content(index, header.len).map_err(SlotFileError::Storage)?;
            match variables.load_file(&content) {
                Ok(()) => {
                    file.current = Some(index);
                    file.sequence = header.sequence;
                    file.saved = variables.to_file();
                    return Ok(file);
                }
                Err(error) => {
                    let error = SlotError::Content(error);
                    newest = newest.or(Some(SlotFileError::Slot { index, error }));
                }
            }
        }
        if let Some(error) = newest.or(refused) {
            return Err(error);
        }
        file.saved = variables.to_file();
        Ok(file)
    }

    /// The disk.
    pub const fn storage(&self) -> &S {
        &self.storage
    }

    /// The disk, for example to repair it. Writes to the file by others are not seen.
    pub const fn storage_mut(&mut self) -> &mut S {
        &mut self.storage
    }

    /// The disk, when the file is not used any more.
    pub fn into_storage(self) -> S {
        self.storage
    }

    /// Bytes that the content of a slot can have.
    #[must_use]
    pub fn capacity(&self) -> usize {
        usize::try_from(self.slot_len)
            .unwrap_or(usize::MAX)
            .saturating_sub(FILE_BLOCK)
    }

    /// Writes the non-volatile variables, if they are not those that were written last. True if something was written.
    ///
    /// # Errors
    ///
    /// [`SlotFileError::Full`] or [`SlotFileError::Sequence`], before anything is written, or [`SlotFileError::Storage`]. The file then still has the
    /// variables that were written last, or those of this call.
    pub fn save<const N: usize>(
        &mut self,
        variables: &Variables<N>,
    ) -> Result<bool, SlotFileError<S::Error>> {
        let content = variables.to_file();
        if content == self.saved {
            return Ok(false);
        }
        let (len, capacity) = (content.len(), self.capacity());
        if len > capacity {
            return Err(SlotFileError::Full { len, capacity });
        }
        let index = match self.current {
            Some(0) => 1,
            _ => 0,
        };
        let sequence = self.sequence.checked_add(1).filter(|next| *next < u64::MAX);
        let sequence = sequence.ok_or(SlotFileError::Sequence)?;
        self.write(index, &content, sequence)
            .map_err(SlotFileError::Storage)?;
        self.current = Some(index);
        self.sequence = sequence;
        self.saved = content;
        Ok(true)
    }

    /// The content first, then the header that makes it valid.
    fn write(&mut self, index: usize, content: &[u8], sequence: u64) -> Result<(), S::Error> {
        let start = self.start(index);
        let header = Header {
            len: content.len(),
            sequence,
        };
        let mut padded = content.to_vec();
        padded.resize(content.len().next_multiple_of(FILE_BLOCK), 0);
        let body = start.saturating_add(u64::try_from(FILE_BLOCK).unwrap_or(u64::MAX));
        self.storage.write(body, &padded)?;
        self.storage.flush()?;
        self.storage.write(start, &header.to_block())?;
        self.storage.flush()
    }

    /// Offset of a slot.
    const fn start(&self, index: usize) -> u64 {
        if index == 0 { 0 } else { self.slot_len }
    }

    /// The content of a slot.
    fn content(&mut self, index: usize, len: usize) -> Result<Vec<u8>, S::Error> {
        let mut content = vec![0; len.next_multiple_of(FILE_BLOCK)];
        let body = u64::try_from(FILE_BLOCK).unwrap_or(u64::MAX);
        let start = self.start(index).saturating_add(body);
        if !content.is_empty() {
            self.storage.read(start, &mut content)?;
        }
        content.truncate(len);
        Ok(content)
    }
}

#[cfg(test)]
mod tests;
