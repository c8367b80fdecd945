//! Sections, and ranges of addresses relative to the image.

use core::fmt;

use boot_core::SourceRange;

use super::{Malformed, OptionalHeader, SectionFlags, raw};

/// A range of addresses relative to the start of the image in memory: `start..end`, `end` exclusive.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RvaRange {
    start: u32,
    end: u32,
}

impl RvaRange {
    /// The range of `len` bytes from `start`, or `None` where its end does not fit 32 bits.
    #[must_use]
    pub const fn new(start: u32, len: u32) -> Option<Self> {
        match start.checked_add(len) {
            Some(end) => Some(Self { start, end }),
            None => None,
        }
    }

    /// The first address.
    #[must_use]
    pub const fn start(self) -> u32 {
        self.start
    }

    /// The address after the last.
    #[must_use]
    pub const fn end(self) -> u32 {
        self.end
    }

    /// The length in bytes.
    #[must_use]
    #[expect(clippy::arithmetic_side_effects, reason = "`start <= end` always holds")]
    pub const fn len(self) -> u32 {
        self.end - self.start
    }

    /// Whether the range holds no byte.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.start == self.end
    }

    /// Whether every byte of `other` lies in this range.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.start <= other.start && other.end <= self.end
    }

    /// Whether the two ranges share a byte.
    #[must_use]
    pub const fn overlaps(self, other: Self) -> bool {
        !self.is_empty() && !other.is_empty() && self.start < other.end && other.start < self.end
    }
}

impl fmt::Display for RvaRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}..{:#x}", self.start, self.end)
    }
}

impl fmt::Debug for RvaRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The name of a section: up to eight bytes, usually ASCII.
///
/// `Display` replaces what is not printable ASCII with `?`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SectionName(
    /// The bytes, padded with zeros.
    pub [u8; 8],
);

impl SectionName {
    /// The bytes without the zeros at their end.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        let len = self.0.iter().rposition(|byte| *byte != 0);
        let len = len.map_or(0, |last| last.saturating_add(1));
        self.0.get(..len).unwrap_or_default()
    }
}

impl fmt::Display for SectionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_bytes().iter().try_for_each(|byte| {
            let c = char::from(*byte);
            let is_printable = c == ' ' || c.is_ascii_graphic();
            fmt::Write::write_char(f, if is_printable { c } else { '?' })
        })
    }
}

impl fmt::Debug for SectionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

/// A section of a PE image: bytes of the file and the memory that they go to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Section {
    /// Its name.
    pub name: SectionName,
    /// Where it is in memory, by `VirtualSize`, or by `SizeOfRawData` where that is zero. Inside the image; may be
    /// empty.
    pub range: RvaRange,
    /// The bytes of the file that fill the start of [`range`](Self::range): never more than it has, and none of the
    /// headers. What they do not fill is zero. Empty where `SizeOfRawData` or `PointerToRawData` is zero: the file has
    /// nothing for the section then, as for a BSS.
    pub data: SourceRange,
    /// What it may be used for.
    pub flags: SectionFlags,
}

impl Section {
    /// Checks a section of a file of `len` bytes with headers and an image as `optional` says.
    pub(super) fn new(
        header: &raw::SectionHeader,
        len: u64,
        optional: &OptionalHeader,
    ) -> Result<Self, Malformed> {
        let name = SectionName(header.name);
        let (headers, image) = (optional.size_of_headers, optional.size_of_image);
        let raw_size = header.size_of_raw_data.get();
        let need = match header.virtual_size.get() {
            0 => raw_size,
            size => size,
        };
        let start = header.virtual_address.get();
        let range = RvaRange::new(start, need)
            .filter(|range| range.end() <= image)
            .ok_or(Malformed::SectionOutside {
                name,
                start,
                need,
                image,
            })?;
        // The alignment of the file may make the file's part longer than the memory's; then the rest is padding.
        let data = match (raw_size, header.pointer_to_raw_data.get()) {
            (0, _) | (_, 0) => SourceRange::whole(0),
            (_, offset) if offset < headers => {
                return Err(Malformed::SectionInHeaders {
                    name,
                    offset,
                    headers,
                });
            }
            (_, offset) => {
                let size = u64::from(raw_size.min(need));
                let data = SourceRange::new(offset.into(), size).unwrap_or(SourceRange::whole(u64::MAX));
                if data.end() > len {
                    return Err(Malformed::SectionCut { name, data, len });
                }
                data
            }
        };
        Ok(Self {
            name,
            range,
            data,
            flags: SectionFlags::from_bits_retain(header.characteristics.get()),
        })
    }

    /// The bytes of the file that are at `range` in memory, where this section has them all in the file.
    pub(super) fn file_part(&self, range: RvaRange) -> Option<SourceRange> {
        file_part(self.range.start(), self.data, range)
    }
}

/// The bytes at `range` in memory of `data`, which is at `start` there.
pub(super) fn file_part(start: u32, data: SourceRange, range: RvaRange) -> Option<SourceRange> {
    let offset = range.start().checked_sub(start)?;
    let part = SourceRange::new(data.offset().checked_add(offset.into())?, range.len().into())?;
    (part.end() <= data.end()).then_some(part)
}
