//! Notes of a `PT_NOTE` segment (gABI chapter 5, "Note Section").

use boot_core::{SizedSource, SourceRange, arith};

use crate::encoding::Encoding;
use crate::error::ElfError;
use crate::header::{Decode, NoteHeader};

/// Length of the note header, in files of both classes.
const HEADER_LEN: u64 = 12;

/// Note: the file ranges of its parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Note {
    /// Type of the note; its meaning depends on the name.
    pub n_type: u32,
    /// Name of the originator that defines the type, with its terminating NUL.
    pub name: SourceRange,
    /// Descriptor: the value of the note.
    pub desc: SourceRange,
}

impl Note {
    /// True if the name of the note is `name`, which has no terminating NUL. `source` is the file that contains the note.
    ///
    /// # Errors
    ///
    /// [`ElfError::Read`].
    pub fn has_name(&self, source: &SizedSource<'_>, name: &[u8]) -> Result<bool, ElfError> {
        let with_nul = name.len().saturating_add(1);
        if self.name.len() != arith::to_u64(with_nul) {
            return Ok(false);
        }
        let found = source.read_vec(self.name.offset(), with_nul)?;
        Ok(found.strip_suffix(&[0]) == Some(name))
    }
}

/// Iterator over the notes of one segment. It ends after the first error.
///
/// Descriptors and notes are aligned to 8 bytes if `p_align` is 8, otherwise to 4: linkers write both layouts, the latter
/// with a `p_align` of 0, 1 or 4. The padding after the last note may be missing. Bytes at the end that are too short for
/// a note header are ignored.
#[derive(Clone, Debug)]
pub struct Notes<'a> {
    source: SizedSource<'a>,
    encoding: Encoding,
    /// Remaining part of the segment.
    rest: SourceRange,
    align: u64,
}

impl<'a> Notes<'a> {
    pub(crate) fn new(
        source: SizedSource<'a>,
        encoding: Encoding,
        content: SourceRange,
        p_align: u64,
    ) -> Self {
        Self {
            source,
            encoding,
            rest: content,
            align: if p_align == 8 { 8 } else { 4 },
        }
    }

    /// Reads the first remaining note, and the bytes remaining after it. There are enough bytes for its header.
    fn read(&self) -> Result<(Note, SourceRange), ElfError> {
        let start = self.rest.offset();
        let header = NoteHeader::read(&self.source, start, self.encoding)?;
        self.split_note(header).ok_or(ElfError::NoteTruncated {
            offset: start,
            end: self.rest.end(),
        })
    }

    /// Ranges of the first remaining note and of the bytes remaining after it; `None` if the note ends past the end of
    /// the segment.
    fn split_note(&self, header: NoteHeader) -> Option<(Note, SourceRange)> {
        let (start, len) = (self.rest.offset(), self.rest.len());
        // All of these are relative to the start of the note, which is aligned.
        let name_end = HEADER_LEN.checked_add(header.n_namesz.into())?;
        let desc = arith::align_up(name_end, self.align)?;
        let desc_end = desc.checked_add(header.n_descsz.into())?;
        let next = arith::align_up(desc_end, self.align)?.min(len);
        // A note with an empty descriptor may end with its name.
        let end = if header.n_descsz == 0 { name_end } else { desc_end };
        if end > len {
            return None;
        }
        let note = Note {
            n_type: header.n_type,
            name: SourceRange::new(start.checked_add(HEADER_LEN)?, header.n_namesz.into())?,
            desc: SourceRange::new(start.checked_add(desc.min(end))?, header.n_descsz.into())?,
        };
        let rest = SourceRange::new(start.checked_add(next)?, len.checked_sub(next)?)?;
        Some((note, rest))
    }
}

impl Iterator for Notes<'_> {
    type Item = Result<Note, ElfError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.len() < HEADER_LEN {
            return None;
        }
        let (note, rest) = match self.read() {
            Ok((note, rest)) => (Ok(note), rest),
            Err(error) => (Err(error), SourceRange::whole(0)),
        };
        self.rest = rest;
        Some(note)
    }
}
