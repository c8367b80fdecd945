//! Records: how a variable is stored.
//!
//! | offset | size | content |
//! |---|---|---|
//! | 0 | 4 | length of the record in bytes |
//! | 4 | 16 | vendor GUID |
//! | 20 | 4 | attributes; bit 31: written by the firmware, read-only for all others |
//! | 24 | 4 | length of the name in bytes, without NUL |
//! | 28 | | the name in UCS-2, then the data |
//!
//! All numbers are little-endian.

use uguid::Guid;

use super::attributes::VariableAttributes;

/// Length of a record without name and data.
pub(super) const HEADER: usize = 28;
/// Bit of the attributes: read-only.
const READ_ONLY: u32 = 1 << 31;

/// A variable in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// Vendor GUID.
    pub guid: Guid,
    /// Attributes.
    pub attributes: VariableAttributes,
    /// True if only the firmware may change it.
    pub is_read_only: bool,
    /// The name: little-endian 16-bit units without NUL.
    pub name: &'a [u8],
    /// The data.
    pub data: &'a [u8],
}

impl<'a> Entry<'a> {
    /// The characters of the name.
    pub fn units(&self) -> impl Iterator<Item = u16> + 'a {
        self.name.chunks_exact(2).map(|unit| match unit {
            [low, high] => u16::from_le_bytes([*low, *high]),
            _ => 0,
        })
    }

    /// True for this name and vendor.
    #[must_use]
    pub fn is(&self, name: &[u16], guid: Guid) -> bool {
        self.guid == guid && self.units().eq(name.iter().copied())
    }

    /// Length of the record.
    pub(super) fn len(&self) -> usize {
        HEADER
            .saturating_add(self.name.len())
            .saturating_add(self.data.len())
    }
}

/// The record at the start of the bytes and the bytes after it, or `None` if they do not begin with a record.
pub(super) fn read(bytes: &[u8]) -> Option<(Entry<'_>, &[u8])> {
    let word = |offset: usize| {
        bytes
            .get(offset..)?
            .first_chunk()
            .copied()
            .map(u32::from_le_bytes)
    };
    let len = usize::try_from(word(0)?).ok()?;
    let name_len = usize::try_from(word(24)?).ok()?;
    let (record, rest) = bytes.split_at_checked(len)?;
    let guid = Guid::from_bytes(*record.get(4..)?.first_chunk()?);
    let attributes = word(20)?;
    let (name, data) = record.get(HEADER..)?.split_at_checked(name_len)?;
    if name_len & 1 != 0 {
        return None;
    }
    let entry = Entry {
        guid,
        attributes: VariableAttributes::from_bits(attributes & !READ_ONLY)?,
        is_read_only: attributes & READ_ONLY != 0,
        name,
        data,
    };
    Some((entry, rest))
}

/// Header of a record.
#[derive(Clone, Copy)]
pub(super) struct Header {
    pub(super) len: usize,
    pub(super) guid: Guid,
    pub(super) attributes: VariableAttributes,
    pub(super) is_read_only: bool,
    pub(super) name_len: usize,
}

impl Header {
    pub(super) fn to_bytes(self) -> [u8; HEADER] {
        let number = |len: usize| u32::try_from(len).unwrap_or(u32::MAX).to_le_bytes();
        let flag = if self.is_read_only { READ_ONLY } else { 0 };
        let attributes = (self.attributes.bits() | flag).to_le_bytes();
        let mut bytes = [0; HEADER];
        let parts: [&[u8]; 4] = [
            &number(self.len),
            &self.guid.to_bytes(),
            &attributes,
            &number(self.name_len),
        ];
        for (byte, value) in bytes.iter_mut().zip(parts.into_iter().flatten()) {
            *byte = *value;
        }
        bytes
    }
}

/// Iterator over the records in the bytes; it ends at the first bytes that are no record.
#[derive(Clone, Debug)]
pub(super) struct Records<'a> {
    rest: &'a [u8],
    offset: usize,
}

impl<'a> Records<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self {
            rest: bytes,
            offset: 0,
        }
    }

    /// The bytes after the records so far.
    pub(super) const fn rest(&self) -> &'a [u8] {
        self.rest
    }
}

impl<'a> Iterator for Records<'a> {
    /// The offset of the record and its content.
    type Item = (usize, Entry<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        let (entry, rest) = read(self.rest)?;
        let offset = self.offset;
        self.offset = offset.saturating_add(entry.len());
        self.rest = rest;
        Some((offset, entry))
    }
}
