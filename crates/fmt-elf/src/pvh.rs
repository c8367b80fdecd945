//! Xen notes of a PVH kernel (Xen public header `elfnote.h`; `pvh.pandoc`).

use boot_core::{Constraints, Endian, GuestRange, Placement};
use zerocopy::byteorder::{BigEndian, LittleEndian, U32, U64};

use crate::error::{ElfError, Field, Unsupported, ValidValues};
use crate::file::ElfFile;
use crate::header::ProgramHeader;
use crate::limits::MAX_NOTES;
use crate::notes::Note;

/// Note type: physical address of the 32-bit PVH entry point.
pub const XEN_ELFNOTE_PHYS32_ENTRY: u32 = 18;

/// Note type: constraints on relocating the image.
pub const XEN_ELFNOTE_PHYS32_RELOC: u32 = 19;

/// Name of the notes.
const XEN: &[u8] = b"Xen";

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
/// Start with the default value, which has no notes, and call [`read_segment`](Self::read_segment) for each `PT_NOTE`
/// program header of [`ElfFile::program_headers`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct PvhNotes {
    /// Physical address of the entry point, and file offset of the note's value.
    entry: Option<(u64, u64)>,
    reloc: Option<Phys32Reloc>,
    /// Number of notes read, of any name and type.
    count: u32,
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

    /// Reads the notes of one `PT_NOTE` segment. Notes with other names or types are ignored.
    ///
    /// # Errors
    ///
    /// [`ElfError::NoteTruncated`], [`ElfError::PvhEntrySize`], [`ElfError::InvalidPvhEntry`],
    /// [`ElfError::ConflictingPvhEntries`], [`ElfError::DuplicatePvhReloc`], [`ElfError::InvalidField`],
    /// [`Unsupported::TooManyNotes`], [`ElfError::Truncated`] or [`ElfError::Read`].
    pub fn read_segment(&mut self, file: &ElfFile<'_>, header: &ProgramHeader) -> Result<(), ElfError> {
        for note in file.notes(header)? {
            let note = note?;
            self.count = self.count.saturating_add(1);
            if self.count > MAX_NOTES {
                let offset = note.name.offset();
                return Err(Unsupported::TooManyNotes { offset }.into());
            }
            match note.n_type {
                XEN_ELFNOTE_PHYS32_ENTRY if note.has_name(&file.source(), XEN)? => {
                    self.add_entry(file, &note)?;
                }
                XEN_ELFNOTE_PHYS32_RELOC if note.has_name(&file.source(), XEN)? => {
                    self.add_reloc(file, &note)?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Checks that the entry point, if there is one, lies in a segment.
    pub(crate) fn check_entry(&self, segments: impl IntoIterator<Item = GuestRange>) -> Result<(), ElfError> {
        match self.entry {
            Some((entry, offset)) if !segments.into_iter().any(|range| range.contains_addr(entry)) => {
                Err(ElfError::InvalidPvhEntry { offset, entry })
            }
            _ => Ok(()),
        }
    }

    /// The value is as wide as a pointer in Linux and 32 bits wide by `elfnote.h`. The address fits 32 bits in both.
    fn add_entry(&mut self, file: &ElfFile<'_>, note: &Note) -> Result<(), ElfError> {
        let offset = note.desc.offset();
        let entry = match note.desc.len() {
            4 => u64::from(read_u32(file, offset)?),
            8 => read_u64(file, offset)?,
            len => return Err(ElfError::PvhEntrySize { offset, len }),
        };
        if u32::try_from(entry).is_err() {
            return Err(ElfError::InvalidPvhEntry { offset, entry });
        }
        match self.entry {
            Some((first, _)) if first != entry => Err(ElfError::ConflictingPvhEntries {
                first,
                second: entry,
                offset,
            }),
            _ => {
                self.entry = Some((entry, offset));
                Ok(())
            }
        }
    }

    fn add_reloc(&mut self, file: &ElfFile<'_>, note: &Note) -> Result<(), ElfError> {
        let offset = note.desc.offset();
        if self.reloc.is_some() {
            return Err(ElfError::DuplicatePvhReloc { offset });
        }
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
        if let Some(align) = reloc.align {
            ValidValues::PowerOfTwo.check(Field::new("PHYS32_RELOC alignment", offset), align)?;
        }
        self.reloc = Some(reloc);
        Ok(())
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
