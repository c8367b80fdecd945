//! Long names (section 7).

use alloc::string::String;

use zerocopy::little_endian::U16;

use crate::name::{is_legal, is_name};
use crate::raw::{LAST_LONG_ENTRY, LongNameEntry};

/// Units in a directory entry.
const UNITS: usize = 13;
/// Maximum number of parts: 255 units and the NUL.
const MAX_PARTS: u8 = 20;
/// Maximum number of units of a name.
const MAX_UNITS: usize = 255;

/// The parts of a long name that have been read: those from number `next + 1` on.
pub(crate) struct LongName {
    units: [u16; UNITS * 20],
    /// Number of parts; 0 if there is no name.
    parts: u8,
    /// Number of the part that has to follow; 0 if the name is complete.
    next: u8,
    checksum: u8,
}

impl LongName {
    pub(crate) const fn new() -> Self {
        Self {
            units: [0; UNITS * 20],
            parts: 0,
            next: 0,
            checksum: 0,
        }
    }

    /// Forgets all parts.
    pub(crate) fn clear(&mut self) {
        self.parts = 0;
        self.next = 0;
    }

    /// Adds a part. A part that does not continue the parts before makes all of them orphans.
    pub(crate) fn add(&mut self, entry: &LongNameEntry) {
        let number = entry.ord & !LAST_LONG_ENTRY;
        let is_first = entry.ord & LAST_LONG_ENTRY != 0;
        if is_first && (1..=MAX_PARTS).contains(&number) {
            self.parts = number;
            self.checksum = entry.chksum;
        } else if is_first
            || self.parts == 0
            || number == 0
            || number != self.next
            || entry.chksum != self.checksum
        {
            self.clear();
            return;
        }
        self.next = number.saturating_sub(1);
        let start = usize::from(self.next).saturating_mul(UNITS);
        let units = entry
            .name1
            .iter()
            .chain(&entry.name2)
            .chain(&entry.name3)
            .map(|unit: &U16| unit.get());
        for (slot, unit) in self.units.iter_mut().skip(start).zip(units) {
            *slot = unit;
        }
    }

    /// The name for a short name with this checksum, and forgets it; `None` if the parts are incomplete, belong to another
    /// short name, or the name has characters that no name has.
    pub(crate) fn take(&mut self, checksum: u8) -> Option<String> {
        let is_complete = self.parts > 0 && self.next == 0 && self.checksum == checksum;
        let len = usize::from(self.parts).saturating_mul(UNITS);
        self.clear();
        let units = self.units.get(..len).filter(|_| is_complete)?;
        let end = units.iter().position(|unit| *unit == 0).unwrap_or(len);
        let units = units.get(..end).filter(|units| units.len() <= MAX_UNITS)?;
        let chars = char::decode_utf16(units.iter().copied());
        let name: String = chars
            .map(|char| char.unwrap_or(char::REPLACEMENT_CHARACTER))
            .collect();
        let is_legal = name.chars().all(is_legal) && is_name(&name);
        is_legal.then_some(name)
    }
}
