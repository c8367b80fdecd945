//! What the notes of a PVH kernel say: Xen's public `elfnote.h`, and `pvh.pandoc`, "PVH entry point".

use boot_core::{Constraints, Endian, GuestRange, Placement};
use zerocopy::byteorder::{BigEndian, LittleEndian, U32, U64};

use crate::error::{At, Expected, Unsupported};
use crate::file::expect;
use crate::{ElfError, ElfFile, Note, ProgramHeader};

/// The note type of the physical 32-bit entry point.
pub const XEN_ELFNOTE_PHYS32_ENTRY: u32 = 18;

/// The note type of the constraints for moving the image.
pub const XEN_ELFNOTE_PHYS32_RELOC: u32 = 19;

/// The highest number of notes this crate reads in one file. Linux has fewer than twenty.
pub const MAX_NOTES: u32 = 4096;

/// The name of the notes' owner.
const XEN: &[u8] = b"Xen";

/// `elfnote.h`: the alignment where neither the note nor the program headers have a better one.
const DEFAULT_ALIGN: u64 = 0x20_0000;

/// `elfnote.h`: the lowest `p_align` that counts as the image's alignment.
const LEAST_P_ALIGN: u64 = 0x1000;

/// `elfnote.h`: the highest address of the image's last byte.
const DEFAULT_MAX: u32 = u32::MAX;

/// The constraints of a `PHYS32_RELOC` note. Its presence says that the PVH entry point copes with being moved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct XenReloc {
    /// The required alignment of the image's start.
    pub align: Option<u32>,
    /// The lowest address for the image's start.
    pub min: Option<u32>,
    /// The highest address for the image's last byte.
    pub max: Option<u32>,
}

impl XenReloc {
    /// The rule for an image that starts at `link_start` unless it is moved, and whose program headers ask for
    /// `p_align` at the highest.
    #[must_use]
    pub fn placement(&self, link_start: u64, p_align: u64) -> Placement {
        let from_headers = if p_align >= LEAST_P_ALIGN {
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

/// The PVH notes of a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct PvhNotes {
    /// The physical entry point and the file offset of the value.
    entry: Option<(u64, u64)>,
    reloc: Option<XenReloc>,
    seen: u32,
}

impl PvhNotes {
    /// The physical address of the PVH entry point, below 4 GiB.
    #[must_use]
    pub fn entry(&self) -> Option<u64> {
        self.entry.map(|(entry, _)| entry)
    }

    /// The constraints for moving the image, where it may be moved.
    #[must_use]
    pub fn reloc(&self) -> Option<XenReloc> {
        self.reloc
    }

    /// Adds what the notes of one `PT_NOTE` program header say. Notes of other owners and of other types are skipped.
    ///
    /// # Errors
    ///
    /// [`ElfError::NotePastEnd`], the errors whose names begin with `Pvh`, [`Unsupported::TooManyNotes`],
    /// [`ElfError::PastEnd`] or [`ElfError::Read`].
    pub fn read(&mut self, file: &ElfFile<'_>, header: &ProgramHeader) -> Result<(), ElfError> {
        for note in file.notes(header)? {
            let note = note?;
            self.seen = self.seen.saturating_add(1);
            if self.seen > MAX_NOTES {
                let offset = note.name.offset();
                return Err(Unsupported::TooManyNotes { offset }.into());
            }
            match note.n_type {
                XEN_ELFNOTE_PHYS32_ENTRY if note.is_named(file, XEN)? => self.add_entry(file, &note)?,
                XEN_ELFNOTE_PHYS32_RELOC if note.is_named(file, XEN)? => self.add_reloc(file, &note)?,
                _ => {}
            }
        }
        Ok(())
    }

    /// Checks the entry point, if there is one, against the segments: it must lie in one of them.
    pub(crate) fn check(&self, segments: impl IntoIterator<Item = GuestRange>) -> Result<(), ElfError> {
        match self.entry {
            Some((entry, offset)) if !segments.into_iter().any(|range| range.contains_addr(entry)) => {
                Err(ElfError::PvhEntryOutside { offset, entry })
            }
            _ => Ok(()),
        }
    }

    /// The value has the width of a pointer in Linux, and 32 bits in `elfnote.h`; the address has 32 bits in both.
    fn add_entry(&mut self, file: &ElfFile<'_>, note: &Note) -> Result<(), ElfError> {
        let offset = note.desc.offset();
        let entry = match note.desc.len() {
            4 => u64::from(read_u32(file, offset)?),
            8 => read_u64(file, offset)?,
            len => return Err(ElfError::PvhEntrySize { offset, len }),
        };
        if u32::try_from(entry).is_err() {
            return Err(ElfError::PvhEntryOutside { offset, entry });
        }
        match self.entry {
            Some((first, _)) if first != entry => Err(ElfError::PvhEntryTwice { first, second: entry }),
            _ => {
                self.entry = Some((entry, offset));
                Ok(())
            }
        }
    }

    fn add_reloc(&mut self, file: &ElfFile<'_>, note: &Note) -> Result<(), ElfError> {
        let offset = note.desc.offset();
        if self.reloc.is_some() {
            return Err(ElfError::PvhRelocTwice { offset });
        }
        let word = |i: u64| {
            let start = i.saturating_mul(4);
            if note.desc.len() < start.saturating_add(4) {
                return Ok(None);
            }
            read_u32(file, offset.saturating_add(start)).map(Some)
        };
        let reloc = XenReloc {
            align: word(0)?,
            min: word(1)?,
            max: word(2)?,
        };
        if let Some(align) = reloc.align {
            let at = At {
                field: "PHYS32_RELOC alignment",
                offset,
            };
            expect(at, align, Expected::PowerOfTwo)?;
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
