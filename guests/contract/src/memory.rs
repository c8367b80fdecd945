//! Expected memory map.

use core::fmt;

use crate::digest::Fnv1a64;
use crate::number::number;

/// One entry of a memory map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryRange {
    /// First guest-physical address.
    pub start: u64,
    /// End of the range, exclusive.
    pub end: u64,
    /// Address range type of the ACPI specification, section 15: 1 is RAM, 2 reserved, 3 ACPI, 4 NVS.
    pub kind: u32,
}

impl fmt::Display for MemoryRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}-{:#x}:{}", self.start, self.end, self.kind)
    }
}

/// A complete memory map, in the expected order.
#[derive(Clone, Copy, Debug)]
pub enum Memory<'a> {
    /// A list of entries.
    Ranges(&'a [MemoryRange]),
    /// Validated text of a command line; only [`Request::parse`](crate::Request::parse) creates this variant.
    Text(&'a str),
    /// Number of entries and [`Memory::hash`], for maps that are too long for a command line.
    Digest {
        /// Number of entries.
        count: u64,
        /// Hash of all entries.
        hash: u64,
    },
}

impl<'a> Memory<'a> {
    /// The digest form of `ranges`.
    #[must_use]
    pub fn digest_of(ranges: &[MemoryRange]) -> Self {
        Self::Digest {
            // The length of a slice is at most `isize::MAX`, so the conversion cannot fail.
            count: u64::try_from(ranges.len()).unwrap_or(u64::MAX),
            hash: Self::hash(ranges.iter().copied()),
        }
    }

    /// FNV-1a over start, end (8 bytes each) and kind (4 bytes) of every entry, little-endian.
    pub fn hash(ranges: impl IntoIterator<Item = MemoryRange>) -> u64 {
        let mut hash = Fnv1a64::new();
        for range in ranges {
            hash.update(&range.start.to_le_bytes());
            hash.update(&range.end.to_le_bytes());
            hash.update(&range.kind.to_le_bytes());
        }
        hash.finish()
    }

    /// Iterates over the entries; `None` for a digest.
    #[must_use]
    pub const fn ranges(self) -> Option<Ranges<'a>> {
        match self {
            Self::Ranges(ranges) => Some(Ranges(Source::Ranges(ranges))),
            Self::Text(text) => Some(Ranges(Source::Text(text))),
            Self::Digest { .. } => None,
        }
    }
}

impl fmt::Display for Memory<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Digest { count, hash } => write!(f, "{count}#{hash:#018x}"),
            Self::Text(text) => f.write_str(text),
            Self::Ranges(ranges) => {
                for (index, range) in ranges.iter().enumerate() {
                    write!(f, "{}{range}", if index == 0 { "" } else { "," })?;
                }
                Ok(())
            }
        }
    }
}

/// Iterator over the entries of a [`Memory`].
#[derive(Clone, Debug)]
pub struct Ranges<'a>(Source<'a>);

#[derive(Clone, Debug)]
enum Source<'a> {
    Ranges(&'a [MemoryRange]),
    Text(&'a str),
}

impl Iterator for Ranges<'_> {
    type Item = MemoryRange;

    fn next(&mut self) -> Option<MemoryRange> {
        match &mut self.0 {
            Source::Ranges(ranges) => {
                let (first, rest) = ranges.split_first()?;
                *ranges = rest;
                Some(*first)
            }
            Source::Text(text) => {
                let (first, rest) = text.split_once(',').unwrap_or((text, ""));
                let range = range(first)?;
                *text = rest;
                Some(range)
            }
        }
    }
}

/// Parses `START-END:KIND` with START below END.
pub(crate) fn range(text: &str) -> Option<MemoryRange> {
    let (extent, kind) = text.split_once(':')?;
    let (start, end) = extent.split_once('-')?;
    let range = MemoryRange {
        start: number(start)?,
        end: number(end)?,
        kind: u32::try_from(number(kind)?).ok()?,
    };
    (range.start < range.end).then_some(range)
}

/// Parses a list of ranges or `COUNT#HASH`.
pub(crate) fn memory(text: &str) -> Option<Memory<'_>> {
    if let Some((count, hash)) = text.split_once('#') {
        return Some(Memory::Digest {
            count: number(count)?,
            hash: number(hash)?,
        });
    }
    text.split(',')
        .all(|part| range(part).is_some())
        .then_some(Memory::Text(text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString as _;
    use std::vec::Vec;

    const MAP: [MemoryRange; 3] = [
        MemoryRange {
            start: 0,
            end: 0x9_fc00,
            kind: 1,
        },
        MemoryRange {
            start: 0x9_fc00,
            end: 0xa_0000,
            kind: 2,
        },
        MemoryRange {
            start: 0x1_0000_0000,
            end: u64::MAX,
            kind: 0xffff_ffff,
        },
    ];

    #[test]
    fn lists_round_trip() {
        let text = Memory::Ranges(&MAP).to_string();
        assert_eq!(
            text,
            "0x0-0x9fc00:1,0x9fc00-0xa0000:2,0x100000000-0xffffffffffffffff:4294967295"
        );
        let parsed = memory(&text).unwrap();
        assert_eq!(parsed.ranges().unwrap().collect::<Vec<_>>(), MAP);
        assert_eq!(parsed.to_string(), text);
    }

    #[test]
    fn digests_round_trip_and_cover_every_field() {
        let text = Memory::digest_of(&MAP).to_string();
        let Some(Memory::Digest { count: 3, hash }) = memory(&text) else {
            panic!("{text}")
        };
        assert_eq!(hash, Memory::hash(MAP));
        for change in 0..3 {
            let mut other = MAP;
            match change {
                0 => other[1].start += 1,
                1 => other[1].end += 1,
                _ => other[1].kind += 1,
            }
            assert_ne!(Memory::hash(other), hash, "field {change} does not count");
        }
    }

    #[test]
    fn malformed_maps_are_refused() {
        for text in [
            "",
            ",",
            "0-1",
            "0-1:",
            "1-1:1",
            "2-1:1",
            "0-1:1,",
            "0-1:4294967296",
            "x-1:1",
            "1#",
            "#1",
        ] {
            assert!(memory(text).is_none(), "{text:?}");
        }
    }
}
