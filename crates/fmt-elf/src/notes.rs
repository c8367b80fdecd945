//! Notes of a `PT_NOTE` segment (gABI chapter 5, "Note Section").

use boot_core::{SizedSource, SourceRange, arith};

use crate::encoding::Encoding;
use crate::error::ElfError;
use crate::header::{Decode, NoteHeader};
use crate::note_error::NoteError;

/// Length of the note header, in files of both classes.
const HEADER_LEN: u64 = 12;

/// Longest name, with its NUL, of a note that confirms the alignment of the note before it.
const NAME_MAX: u64 = 64;

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
/// Descriptors and notes are aligned to 8 or to 4 bytes. `p_align` does not determine which: linkers merge note sections with
/// both alignments into one segment. So if the alignment changes the position of a descriptor or of the next note, the
/// iterator uses the one after which the next note has a valid name, or the segment ends. If that is true of both or of
/// neither, it uses 8 if `p_align` is 8, else 4.
///
/// The padding after the last note may be missing. Bytes at the end that are too short for a note header are ignored. If
/// the file ends before the segment, the notes in the file are followed by [`NoteError::SegmentTruncated`].
#[derive(Clone, Debug)]
pub struct Notes<'a> {
    source: SizedSource<'a>,
    encoding: Encoding,
    /// Part of the segment that lies in the file.
    content: SourceRange,
    /// Distance of the next note from the start of the segment.
    position: u64,
    p_align: u64,
    /// Error that follows the last note.
    truncated: Option<NoteError>,
}

/// A note and the distance of the next note from the start of the segment.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Step {
    note: Note,
    next: u64,
}

impl<'a> Notes<'a> {
    /// The notes in `content`. `truncated` is the error if that is only a part of the segment.
    pub(crate) fn new(
        source: SizedSource<'a>,
        encoding: Encoding,
        content: SourceRange,
        p_align: u64,
        truncated: Option<NoteError>,
    ) -> Self {
        Self {
            source,
            encoding,
            content,
            position: 0,
            p_align,
            truncated,
        }
    }

    /// Reads the note at `position`. There are enough bytes for its header.
    fn read(&self) -> Result<Step, ElfError> {
        /// Alignment of descriptors and notes. The third one is a note of the first kind before a section of the second.
        const ALIGN_4: (u64, u64) = (4, 4);
        const ALIGN_8: (u64, u64) = (8, 8);
        const ALIGN_4_THEN_8: (u64, u64) = (4, 8);
        let header = self.header_at(self.position)?;
        let by_p_align = match self.p_align {
            8 => [ALIGN_8, ALIGN_4, ALIGN_4_THEN_8],
            _ => [ALIGN_4, ALIGN_4_THEN_8, ALIGN_8],
        };
        let mut steps = by_p_align
            .into_iter()
            .filter_map(|align| self.step(header, align));
        let Some(first) = steps.next() else {
            let end = self.content.end();
            return Err(self.truncated.unwrap_or(NoteError::Truncated {
                offset: self.content.offset().saturating_add(self.position),
                end,
            }))?;
        };
        let mut others = steps.filter(|step| *step != first).peekable();
        if others.peek().is_none() || self.is_boundary(first.next)? {
            return Ok(first);
        }
        for step in others {
            if self.is_boundary(step.next)? {
                return Ok(step);
            }
        }
        Ok(first)
    }

    fn header_at(&self, position: u64) -> Result<NoteHeader, ElfError> {
        let offset = self.content.offset().saturating_add(position);
        Ok(NoteHeader::read(&self.source, offset, self.encoding)?)
    }

    /// The note at `position` with these alignments of its descriptor and of the next note; `None` if it ends past the
    /// end of the segment.
    fn step(&self, header: NoteHeader, (desc_align, next_align): (u64, u64)) -> Option<Step> {
        let (start, len) = (self.content.offset(), self.content.len());
        let name = self.position.checked_add(HEADER_LEN)?;
        let name_end = name.checked_add(header.n_namesz.into())?;
        let desc = arith::align_up(name_end, desc_align)?;
        let desc_end = desc.checked_add(header.n_descsz.into())?;
        let next = arith::align_up(desc_end, next_align)?.min(len);
        // A note with an empty descriptor may end with its name.
        let end = if header.n_descsz == 0 { name_end } else { desc_end };
        if end > len {
            return None;
        }
        let note = Note {
            n_type: header.n_type,
            name: SourceRange::new(start.checked_add(name)?, header.n_namesz.into())?,
            desc: SourceRange::new(start.checked_add(desc.min(end))?, header.n_descsz.into())?,
        };
        Some(Step { note, next })
    }

    /// True if the segment ends at `position`, or a note with a name begins there.
    fn is_boundary(&self, position: u64) -> Result<bool, ElfError> {
        let left = self.content.len().saturating_sub(position);
        let offset = self.content.offset().saturating_add(position);
        if left < HEADER_LEN {
            let padding = self
                .source
                .read_vec(offset, usize::try_from(left).unwrap_or_default())?;
            return Ok(padding.iter().all(|byte| *byte == 0));
        }
        let header = self.header_at(position)?;
        let namesz = u64::from(header.n_namesz);
        if !(2..=NAME_MAX).contains(&namesz) || namesz > left.saturating_sub(HEADER_LEN) {
            return Ok(false);
        }
        let name = self.source.read_vec(
            offset.saturating_add(HEADER_LEN),
            usize::try_from(namesz).unwrap_or_default(),
        )?;
        Ok(match name.split_last() {
            Some((0, name)) => name.iter().all(|byte| byte.is_ascii_graphic() || *byte == b' '),
            _ => false,
        })
    }
}

impl Iterator for Notes<'_> {
    type Item = Result<Note, ElfError>;

    fn next(&mut self) -> Option<Self::Item> {
        let left = self.content.len().saturating_sub(self.position);
        if left < HEADER_LEN {
            return self.truncated.take().map(|error| Err(error.into()));
        }
        match self.read() {
            Ok(step) => {
                self.position = step.next;
                Some(Ok(step.note))
            }
            Err(error) => {
                self.position = self.content.len();
                self.truncated = None;
                Some(Err(error))
            }
        }
    }
}
