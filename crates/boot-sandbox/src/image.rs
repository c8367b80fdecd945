//! Metadata of a guest program.

use alloc::vec::Vec;
use core::fmt;

use boot_core::{Arch, GuestRange, Segment, SourceRange};

use crate::note::{GuestNote, GuestNoteError, NotePart};

/// Access to a segment in addition to reads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SegmentAccess {
    /// Writes.
    pub write: bool,
    /// Instruction fetches.
    pub execute: bool,
}

impl SegmentAccess {
    /// Reads only.
    pub const READ: Self = Self {
        write: false,
        execute: false,
    };
    /// Reads and writes.
    pub const WRITE: Self = Self {
        write: true,
        execute: false,
    };
    /// Reads and instruction fetches.
    pub const EXECUTE: Self = Self {
        write: false,
        execute: true,
    };
}

/// As in the output of `readelf`: `R`, `RW`, `R E` or `RWE`.
impl fmt::Display for SegmentAccess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match (self.write, self.execute) {
            (false, false) => "R",
            (true, false) => "RW",
            (false, true) => "R E",
            (true, true) => "RWE",
        })
    }
}

/// A segment of a guest program, with what a [`Segment`] of an image lacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct GuestSegment {
    /// Index of the program header.
    pub index: u32,
    /// First virtual address.
    pub virt: u64,
    /// The bytes in the file, and the physical addresses.
    pub segment: Segment,
    /// Access.
    pub access: SegmentAccess,
}

impl GuestSegment {
    /// The virtual addresses; cut off at the end of the address space.
    #[must_use]
    pub fn range(&self) -> GuestRange {
        let end = self.virt.saturating_add(self.segment.range.len());
        GuestRange::from_bounds(self.virt, end).unwrap_or(GuestRange::EMPTY)
    }

    /// The offset in the segment of `len` bytes at the virtual address `addr`, if they are part of the file.
    fn file_offset(&self, addr: u64, len: u64) -> Option<u64> {
        let offset = addr.checked_sub(self.virt)?;
        let end = offset.checked_add(len)?;
        (end <= self.segment.source.len()).then_some(offset)
    }
}

/// Such as `segment 3 (RW, 0x4000a000..0x4000b000)`.
impl fmt::Display for GuestSegment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "segment {} ({}, {})", self.index, self.access, self.range())
    }
}

/// Features of a linked program that matter to a loader without a dynamic linker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct LinkFeatures {
    /// Virtual addresses that are constant after relocation (`PT_GNU_RELRO`).
    pub relro: Option<GuestRange>,
    /// The program has a dynamic section (`PT_DYNAMIC`), for relocations.
    pub is_dynamic: bool,
    /// The program has variables for each thread (`PT_TLS`).
    pub has_thread_local_storage: bool,
}

/// Metadata of a guest program: its note and its segments.
///
/// Entry point and exception handlers are in the file's part of an executable segment that is not writable.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct GuestImage {
    note: GuestNote,
    segments: Vec<GuestSegment>,
    link: LinkFeatures,
}

impl GuestImage {
    /// The metadata of a program with this note, these segments and features.
    ///
    /// # Errors
    ///
    /// [`GuestNoteError::OutsideCode`] if entry point or exception handlers are not in a segment of code.
    pub fn new(
        arch: Arch,
        note: GuestNote,
        mut segments: Vec<GuestSegment>,
        link: LinkFeatures,
    ) -> Result<Self, GuestNoteError> {
        segments.sort_by_key(|segment| (segment.virt, segment.index));
        let image = Self { note, segments, link };
        for part in [NotePart::Entry, NotePart::Vectors] {
            let (addr, len) = (note.part(part), part.size(arch));
            if image.find(addr, len, true).is_none() {
                return Err(GuestNoteError::OutsideCode { part, addr, len });
            }
        }
        Ok(image)
    }

    /// The note.
    #[must_use]
    pub const fn note(&self) -> &GuestNote {
        &self.note
    }

    /// The segments in the order of their virtual addresses. They are not empty.
    #[must_use]
    pub fn segments(&self) -> &[GuestSegment] {
        &self.segments
    }

    /// Features of the linked program.
    #[must_use]
    pub const fn link(&self) -> &LinkFeatures {
        &self.link
    }

    /// The physical address of the first instruction.
    #[must_use]
    pub fn entry(&self) -> u64 {
        let found = self.find(self.note.entry, 1, true);
        found.map_or(self.note.entry, |(segment, offset)| {
            segment.segment.range.start().saturating_add(offset)
        })
    }

    /// The bytes in the file of `len` bytes at the virtual address `addr`, if all of them are in the file's part of a segment that is
    /// not writable.
    #[must_use]
    pub fn constant(&self, addr: u64, len: u64) -> Option<SourceRange> {
        let (segment, offset) = self.find(addr, len, false)?;
        SourceRange::new(segment.segment.source.offset().checked_add(offset)?, len)
    }

    /// The segment with these bytes, and their offset in it. The segment is not writable, and executable if `execute` is set.
    fn find(&self, addr: u64, len: u64, execute: bool) -> Option<(&GuestSegment, u64)> {
        self.segments
            .iter()
            .filter(|segment| !segment.access.write && (segment.access.execute || !execute))
            .find_map(|segment| Some((segment, segment.file_offset(addr, len)?)))
    }
}
