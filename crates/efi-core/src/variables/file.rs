//! Non-volatile variables as bytes: the content of a slot of their file.
//!
//! | offset | size | content |
//! |---|---|---|
//! | 0 | 8 | `VMBTEFIV` |
//! | 8 | 4 | version, 1 |
//! | 12 | 4 | length of the records in bytes |
//! | 16 | 4 | CRC32 of the records |
//! | 20 | | records, see `record.rs` |

use alloc::vec::Vec;
use core::fmt;

use super::attributes::VariableAttributes;
use super::record::{Header, Records};
use super::store::{MAX_NAME, MAX_VARIABLE, Variables};
use crate::Status;
use crate::crc::crc32;

const MAGIC: [u8; 8] = *b"VMBTEFIV";
const VERSION: u32 = 1;
const HEADER: usize = 20;

/// Reason why a file of variables is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FileError {
    /// The file is shorter than its header.
    TooShort {
        /// Length of the file.
        len: usize,
    },
    /// The file does not begin with the magic number.
    Magic,
    /// The version is unknown.
    Version {
        /// Version of the file.
        found: u32,
    },
    /// The length in the header is not that of the file.
    Length {
        /// Length of the records by the header.
        expected: usize,
        /// Length of the records.
        found: usize,
    },
    /// The checksum is wrong.
    Checksum {
        /// CRC32 in the header.
        expected: u32,
        /// CRC32 of the records.
        found: u32,
    },
    /// A record is malformed or has attributes that no stored variable has.
    Record {
        /// Offset of the record in the file.
        offset: usize,
    },
    /// Two records have the same name and vendor, or it is that of a volatile or read-only variable.
    Duplicate {
        /// Offset of the record in the file.
        offset: usize,
    },
    /// The variables do not fit in the store.
    Full(Status),
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooShort { len } => write!(
                f,
                "a file of variables has at least {HEADER} bytes, this one has {len}"
            ),
            Self::Magic => write!(f, "not a file of variables: it does not begin with VMBTEFIV"),
            Self::Version { found } => write!(f, "version {found} of the file of variables is not supported"),
            Self::Length { expected, found } => {
                write!(
                    f,
                    "the header has {expected} bytes of variables, the file has {found}"
                )
            }
            Self::Checksum { expected, found } => {
                write!(
                    f,
                    "the CRC32 of the variables is {found:#010x}, the header has {expected:#010x}"
                )
            }
            Self::Record { offset } => write!(f, "the variable at byte {offset} is malformed"),
            Self::Duplicate { offset } => write!(f, "the variable at byte {offset} exists already"),
            Self::Full(_) => write!(f, "the variables do not fit in the store"),
        }
    }
}

impl core::error::Error for FileError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Full(status) => Some(status),
            _ => None,
        }
    }
}

impl<const N: usize> Variables<N> {
    /// The file with all non-volatile variables that are accessible now.
    #[must_use]
    pub fn to_file(&self) -> Vec<u8> {
        let mut records = Vec::new();
        for entry in self.entries() {
            if !entry.attributes.contains(VariableAttributes::NON_VOLATILE) {
                continue;
            }
            let header = Header {
                len: entry.len(),
                guid: entry.guid,
                attributes: entry.attributes,
                is_read_only: false,
                name_len: entry.name.len(),
            };
            records.extend_from_slice(&header.to_bytes());
            records.extend_from_slice(entry.name);
            records.extend_from_slice(entry.data);
        }
        let len = u32::try_from(records.len()).unwrap_or(u32::MAX);
        let words = [VERSION, len, crc32(&records)].map(u32::to_le_bytes);
        [&MAGIC[..], words.as_flattened(), &records].concat()
    }

    /// Limits the non-volatile variables to those that fit in a file with this capacity, as
    /// [`SlotFile::capacity`](super::SlotFile::capacity) returns it; 0 removes the limit. It ends with `ExitBootServices`, after
    /// which nothing is stored.
    pub const fn limit_non_volatile(&mut self, capacity: usize) {
        self.set_non_volatile_limit(capacity.saturating_sub(HEADER));
    }

    /// Replaces the non-volatile variables by those of a file. An error leaves the store as it was.
    ///
    /// # Errors
    ///
    /// [`FileError`] if the file is malformed, has the name of a volatile or read-only variable, or does not fit.
    pub fn load_file(&mut self, file: &[u8]) -> Result<(), FileError> {
        let too_short = FileError::TooShort { len: file.len() };
        let (header, records) = file.split_at_checked(HEADER).ok_or(too_short)?;
        let (magic, words) = header.split_at_checked(8).ok_or(too_short)?;
        if magic != MAGIC {
            return Err(FileError::Magic);
        }
        let word = |index: usize| words.get(index..)?.first_chunk().copied().map(u32::from_le_bytes);
        let [version, len, checksum] = [0, 4, 8].map(|offset| word(offset).unwrap_or(0));
        if version != VERSION {
            return Err(FileError::Version { found: version });
        }
        let expected = usize::try_from(len).unwrap_or(usize::MAX);
        if expected != records.len() {
            return Err(FileError::Length {
                expected,
                found: records.len(),
            });
        }
        let found = crc32(records);
        if found != checksum {
            return Err(FileError::Checksum {
                expected: checksum,
                found,
            });
        }
        let before = self.snapshot();
        self.restore(&before, |entry| {
            entry.is_read_only || !entry.attributes.contains(VariableAttributes::NON_VOLATILE)
        });
        let result = self.load_records(records);
        if result.is_err() {
            self.restore(&before, |_| true);
        }
        result
    }

    fn load_records(&mut self, records: &[u8]) -> Result<(), FileError> {
        let mut iter = Records::new(records);
        let mut offset = HEADER;
        for (at, entry) in iter.by_ref() {
            offset = at.saturating_add(HEADER);
            let name: Vec<u16> = entry.units().collect();
            let is_stored = entry.attributes.contains(VariableAttributes::NON_VOLATILE)
                && entry.attributes.contains(VariableAttributes::BOOT_SERVICE_ACCESS)
                && VariableAttributes::STORED.contains(entry.attributes);
            let is_named = !name.is_empty() && name.len() <= MAX_NAME && !name.contains(&0);
            let is_sized = !entry.data.is_empty() && entry.len() <= MAX_VARIABLE;
            if !is_stored || !is_named || !is_sized || entry.is_read_only {
                return Err(FileError::Record { offset });
            }
            if self.get(&name, entry.guid).is_ok() {
                return Err(FileError::Duplicate { offset });
            }
            self.set(&name, entry.guid, entry.attributes.bits(), entry.data)
                .map_err(FileError::Full)?;
            offset = offset.saturating_add(entry.len());
        }
        if iter.rest().is_empty() {
            Ok(())
        } else {
            Err(FileError::Record { offset })
        }
    }
}
