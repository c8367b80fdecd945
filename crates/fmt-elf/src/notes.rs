//! The notes of a PT_NOTE segment: gABI chapter 5, "Note Section".

use boot_core::{SourceRange, arith};

use crate::header::{Decode, NoteHeader};
use crate::{ElfError, ElfFile};

/// The length of a note's head, in files of both classes.
const HEAD_LEN: u64 = 12;

/// A note, by where its parts lie in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Note {
    /// What the value means, to those who know the name.
    pub n_type: u32,
    /// The name of whoever defined the type, with its terminating NUL.
    pub name: SourceRange,
    /// The value.
    pub desc: SourceRange,
}

impl Note {
    /// Whether the note's name is `name`, which is given without the terminating NUL.
    ///
    /// # Errors
    ///
    /// [`ElfError::Read`].
    pub fn is_named(&self, file: &ElfFile<'_>, name: &[u8]) -> Result<bool, ElfError> {
        let with_nul = name.len().saturating_add(1);
        if self.name.len() != arith::to_u64(with_nul) {
            return Ok(false);
        }
        let found = file.source().read_vec(self.name.offset(), with_nul)?;
        Ok(found.strip_suffix(&[0]) == Some(name))
    }
}

/// The notes of one segment, none of which reaches past the segment's end. Ends after the first error.
///
/// Where `p_align` is 8, values and notes are aligned to 8 bytes, otherwise to 4: linkers make both, and write 0, 1 or
/// 4 for the latter. The padding after the last note may be missing, and a rest that is too short for a note is
/// padding.
#[derive(Clone, Debug)]
pub struct Notes<'a> {
    file: ElfFile<'a>,
    /// The part of the segment that is left.
    rest: SourceRange,
    align: u64,
}

impl<'a> Notes<'a> {
    pub(crate) fn new(file: ElfFile<'a>, content: SourceRange, p_align: u64) -> Self {
        Self {
            file,
            rest: content,
            align: if p_align == 8 { 8 } else { 4 },
        }
    }

    /// Reads the note at the start of what is left. There are enough bytes for its head.
    fn read(&self) -> Result<(Note, SourceRange), ElfError> {
        let start = self.rest.offset();
        let header = NoteHeader::read(&self.file.source(), start, self.file.encoding())?;
        self.lay_out(header).ok_or(ElfError::NotePastEnd {
            offset: start,
            end: self.rest.end(),
        })
    }

    /// Where the parts of the note at the start of what is left lie, and what is left after it; `None` where it ends
    /// past the segment's end.
    fn lay_out(&self, header: NoteHeader) -> Option<(Note, SourceRange)> {
        let (start, len) = (self.rest.offset(), self.rest.len());
        // All of these are relative to the note, whose own start is aligned.
        let name_end = HEAD_LEN.checked_add(header.n_namesz.into())?;
        let desc = arith::align_up(name_end, self.align)?;
        let desc_end = desc.checked_add(header.n_descsz.into())?;
        let next = arith::align_up(desc_end, self.align)?.min(len);
        // A note without a value may end with its name.
        let end = if header.n_descsz == 0 { name_end } else { desc_end };
        if end > len {
            return None;
        }
        let note = Note {
            n_type: header.n_type,
            name: SourceRange::new(start.checked_add(HEAD_LEN)?, header.n_namesz.into())?,
            desc: SourceRange::new(start.checked_add(desc.min(end))?, header.n_descsz.into())?,
        };
        let rest = SourceRange::new(start.checked_add(next)?, len.checked_sub(next)?)?;
        Some((note, rest))
    }
}

impl Iterator for Notes<'_> {
    type Item = Result<Note, ElfError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.len() < HEAD_LEN {
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
