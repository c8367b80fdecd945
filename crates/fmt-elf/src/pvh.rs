//! Xen notes of a PVH kernel (Xen public header `elfnote.h`; `pvh.pandoc`).

use boot_core::{Constraints, Endian, GuestRange, Placement};
use zerocopy::byteorder::{BigEndian, LittleEndian, U32, U64};

use crate::error::ElfError;
use crate::file::ElfFile;
use crate::note_error::NoteError;
use crate::notes::Note;

/// Note type: physical address of the 32-bit PVH entry point.
pub const XEN_ELFNOTE_PHYS32_ENTRY: u32 = 18;

/// Note type: constraints on relocating the image.
pub const XEN_ELFNOTE_PHYS32_RELOC: u32 = 19;

/// Name of the notes.
pub(crate) const XEN: &[u8] = b"Xen";

/// Alignment if neither the note nor a program header specifies one (`elfnote.h`).
const DEFAULT_ALIGN: u64 = 0x20_0000;

/// Lowest `p_align` that is used as the alignment of the image (`elfnote.h`).
const MIN_P_ALIGN: u64 = 0x1000;

/// Highest address of the last byte of the image, if the note does not specify one (`elfnote.h`).
const DEFAULT_MAX: u32 = u32::MAX;

/// Value of an `XEN_ELFNOTE_PHYS32_RELOC` note: the image may be relocated within these constraints.
///
/// A field is `None` if the note is too short for it. [`placement`](Self::placement) applies the defaults of `elfnote.h`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Phys32Reloc {
    /// Alignment of the start of the image in bytes: a power of two. Default: `p_align` if that is at least 4 KiB, else
    /// 2 MiB.
    pub align: Option<u32>,
    /// Lowest address of the start of the image. Default: 0.
    pub min: Option<u32>,
    /// Highest address of the last byte of the image. Default: 0xffff_ffff.
    pub max: Option<u32>,
}

impl Phys32Reloc {
    /// Placement of an image that is linked to start at `link_start` and whose highest `p_align` is `p_align`.
    #[must_use]
    pub fn placement(&self, link_start: u64, p_align: u64) -> Placement {
        let from_headers = if p_align >= MIN_P_ALIGN {
            p_align
        } else {
            DEFAULT_ALIGN
        };
        let end = u64::from(self.max.unwrap_or(DEFAULT_MAX)).saturating_add(1);
        Placement::Relocatable(
            Constraints::aligned(self.align.map_or(from_headers, u64::from))
                .between(self.min.unwrap_or(0).into(), end)
                .prefer(link_start),
        )
    }
}

/// PVH notes of a file.
///
/// Start with the default value, which has no notes, and call [`read_note`](Self::read_note) for each note.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct PvhNotes {
    /// Physical address of the entry point, and file offset of the note's value.
    entry: Option<(u64, u64)>,
    reloc: Option<Phys32Reloc>,
}

impl PvhNotes {
    /// Physical address of the PVH entry point, below 4 GiB; `None` without a `PHYS32_ENTRY` note.
    #[must_use]
    pub fn entry(&self) -> Option<u64> {
        self.entry.map(|(entry, _)| entry)
    }

    /// Constraints on relocating the image; `None` without a `PHYS32_RELOC` note: the image must not be relocated.
    #[must_use]
    pub fn reloc(&self) -> Option<Phys32Reloc> {
        self.reloc
    }

    /// Reads a note of the file. Returns `false` for a note with another name or type, which is ignored.
    ///
    /// # Errors
    ///
    /// [`ElfError::Note`] if the note is malformed or contradicts an earlier one, which still counts; [`ElfError::Read`].
    pub fn read_note(&mut self, file: &ElfFile<'_>, note: &Note) -> Result<bool, ElfError> {
        match note.n_type {
            XEN_ELFNOTE_PHYS32_ENTRY if note.has_name(&file.source(), XEN)? => self.add_entry(file, note)?,
            XEN_ELFNOTE_PHYS32_RELOC if note.has_name(&file.source(), XEN)? => self.add_reloc(file, note)?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Removes an entry point that does not lie in a segment, and returns it as an error.
    pub(crate) fn remove_entry_outside(
        &mut self,
        segments: impl IntoIterator<Item = GuestRange>,
    ) -> Option<NoteError> {
        let (entry, offset) = self.entry?;
        if segments.into_iter().any(|range| range.contains_addr(entry)) {
            return None;
        }
        self.entry = None;
        Some(NoteError::InvalidPvhEntry { offset, entry })
    }

    /// The value is as wide as a pointer in Linux and 32 bits wide by `elfnote.h`. The address fits 32 bits in both.
    fn add_entry(&mut self, file: &ElfFile<'_>, note: &Note) -> Result<(), ElfError> {
        let offset = note.desc.offset();
        let entry = match note.desc.len() {
            4 => u64::from(read_u32(file, offset)?),
            8 => read_u64(file, offset)?,
            len => return Err(NoteError::PvhEntrySize { offset, len }.into()),
        };
        if u32::try_from(entry).is_err() {
            return Err(NoteError::InvalidPvhEntry { offset, entry }.into());
        }
        match self.entry {
            Some((first, _)) if first != entry => Err(NoteError::ConflictingPvhEntries {
                first,
                second: entry,
                offset,
            }
            .into()),
            _ => {
                self.entry = Some((entry, offset));
                Ok(())
            }
        }
    }

    fn add_reloc(&mut self, file: &ElfFile<'_>, note: &Note) -> Result<(), ElfError> {
        let offset = note.desc.offset();
        let word = |i: u64| {
            let start = i.saturating_mul(4);
            if note.desc.len() < start.saturating_add(4) {
                return Ok(None);
            }
            read_u32(file, offset.saturating_add(start)).map(Some)
        };
        let reloc = Phys32Reloc {
            align: word(0)?,
            min: word(1)?,
            max: word(2)?,
        };
        match (self.reloc, reloc.align) {
            (Some(first), _) if first != reloc => Err(NoteError::ConflictingPvhRelocs { offset }.into()),
            (_, Some(align)) if !align.is_power_of_two() => {
                Err(NoteError::PvhRelocAlign { offset, align }.into())
            }
            _ => {
                self.reloc = Some(reloc);
                Ok(())
            }
        }
    }
}

fn read_u32(file: &ElfFile<'_>, offset: u64) -> Result<u32, ElfError> {
    let source = file.source();
    Ok(match file.encoding().endian {
        Endian::Little => source.read::<U32<LittleEndian>>(offset)?.get(),
        Endian::Big => source.read::<U32<BigEndian>>(offset)?.get(),
    })
}

fn read_u64(file: &ElfFile<'_>, offset: u64) -> Result<u64, ElfError> {
    let source = file.source();
    Ok(match file.encoding().endian {
        Endian::Little => source.read::<U64<LittleEndian>>(offset)?.get(),
        Endian::Big => source.read::<U64<BigEndian>>(offset)?.get(),
    })
}
