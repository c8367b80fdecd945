//! PVH kernels that no loader recognises because of a small defect, for warnings.
//!
//! The notes are read again with fewer checks, and only in files without a PVH entry point. The results are used for
//! nothing else.

use core::fmt;

use boot_core::{ImageBuilder, ReadError, ReadErrorKind, SizedSource, SourceRange, arith};
use zerocopy::little_endian::U32;
use zerocopy::{FromBytes, IntoBytes, LE};

use crate::encoding::Class;
use crate::error::ElfError;
use crate::file::ElfFile;
use crate::pvh::XEN_ELFNOTE_PHYS32_ENTRY;
use crate::raw;

/// Section type of notes (gABI chapter 4, "Sections").
const SHT_NOTE: u32 = 7;

/// Name of the notes without the terminating NUL.
const XEN: &[u8] = b"Xen";

/// Number of sections that are examined. Kernels have fewer.
const MAX_SECTIONS: u64 = 256;

/// Number of notes that are examined in all segments, and again in all sections.
const MAX_NOTES: u32 = 256;

/// Start of the kernel's addresses in 32-bit kernels with the usual split of 3 GiB and 1 GiB.
const UPPER_GIB: u64 = 0xc000_0000;

/// Page size of x86. A segment in the upper GiB that does not start with a page is meant to be there, such as a reset vector.
const PAGE: u64 = 0x1000;

/// Warning of the ELF parser about a defect because of which an x86 kernel does not start as it was probably meant to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum NearMiss {
    /// A section of notes has a PVH entry point, but no `PT_NOTE` program header refers to it. Loaders read only those.
    NoteSectionWithoutSegment {
        /// Index of the section.
        section: u64,
        /// File offset of the note.
        offset: u64,
    },
    /// The name of a PVH entry note has no terminating NUL, so that its name is not "Xen" (gABI chapter 5, "Note Section").
    NoteNameWithoutNul {
        /// File offset of the note.
        offset: u64,
    },
    /// `p_paddr` of a 32-bit kernel equals `p_vaddr` in the last GiB. Its linker script probably does not specify physical
    /// addresses.
    VirtualLoadAddress {
        /// The address.
        start: u64,
    },
}

impl fmt::Display for NearMiss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoteSectionWithoutSegment { section, offset } => write!(
                f,
                "section {section} has a PVH entry note at byte {offset:#x}, but no PT_NOTE program header refers to it, so \
                 that it is ignored; add a PT_NOTE for the section in the linker script (`PHDRS`)"
            ),
            Self::NoteNameWithoutNul { offset } => write!(
                f,
                "the note at byte {offset:#x} is named \"Xen\" without the terminating NUL, so that it is ignored; add the NUL, \
                 and set `n_namesz` to 4"
            ),
            Self::VirtualLoadAddress { start } => write!(
                f,
                "a segment has the `p_paddr` {start:#x}, equal to its `p_vaddr`, as if it were a virtual address; the linker \
                 script must specify physical load addresses (`AT`) if the kernel is not meant to be there"
            ),
        }
    }
}

/// Adds the warnings of an x86 file without a PVH entry point.
pub(crate) fn warn(file: &ElfFile<'_>, mut builder: ImageBuilder) -> Result<ImageBuilder, ElfError> {
    let source = file.source();
    let mut has_nul = true;
    let mut high = None;
    let mut notes_left = MAX_NOTES;
    for header in file.program_headers() {
        let header = header?;
        match header.p_type {
            raw::PT_NOTE if has_nul => {
                let Some(notes) = SourceRange::new(header.p_offset, header.p_filesz) else {
                    continue;
                };
                if let Some((offset, false)) = find_entry_note(&source, notes, &mut notes_left)? {
                    builder = builder.warning(NearMiss::NoteNameWithoutNul { offset });
                    has_nul = false;
                }
            }
            raw::PT_LOAD
                if header.class == Class::Elf32
                    && header.p_paddr == header.p_vaddr
                    && header.p_paddr >= UPPER_GIB
                    && header.p_paddr % PAGE == 0 =>
            {
                high = high.or(Some(header.p_paddr));
            }
            _ => {}
        }
    }
    if let Some(start) = high {
        builder = builder.warning(NearMiss::VirtualLoadAddress { start });
    }
    if let Some((section, offset)) = find_note_section(&source, file.encoding().class)? {
        if !is_in_note_segment(file, offset)? {
            builder = builder.warning(NearMiss::NoteSectionWithoutSegment { section, offset });
        }
    }
    Ok(builder)
}

/// Whether a `PT_NOTE` program header refers to the byte at `offset`.
fn is_in_note_segment(file: &ElfFile<'_>, offset: u64) -> Result<bool, ElfError> {
    for header in file.program_headers() {
        let header = header?;
        let is_inside = offset
            .checked_sub(header.p_offset)
            .is_some_and(|distance| distance < header.p_filesz);
        if header.p_type == raw::PT_NOTE && is_inside {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Index of the first section with a PVH entry note, and file offset of the note.
fn find_note_section(source: &SizedSource<'_>, class: Class) -> Result<Option<(u64, u64)>, ReadError> {
    let table = match class {
        Class::Elf32 => read::<raw::Ehdr32<LE>>(source, 0)?.map(|header| {
            let size = size_of::<raw::Shdr32<LE>>();
            (u64::from(header.e_shoff.get()), header.e_shnum.get(), size)
        }),
        Class::Elf64 => read::<raw::Ehdr64<LE>>(source, 0)?.map(|header| {
            let size = size_of::<raw::Shdr64<LE>>();
            (header.e_shoff.get(), header.e_shnum.get(), size)
        }),
    };
    let Some((start, count, size)) = table.filter(|(start, ..)| *start != 0) else {
        return Ok(None);
    };
    let mut notes_left = MAX_NOTES;
    for index in 0..u64::from(count).min(MAX_SECTIONS) {
        let at = start.saturating_add(index.saturating_mul(arith::to_u64(size)));
        let section = match class {
            Class::Elf32 => read::<raw::Shdr32<LE>>(source, at)?.map(|section| {
                let (offset, size) = (section.sh_offset.get(), section.sh_size.get());
                (section.sh_type.get(), offset.into(), size.into())
            }),
            Class::Elf64 => read::<raw::Shdr64<LE>>(source, at)?.map(|section| {
                let (offset, size) = (section.sh_offset.get(), section.sh_size.get());
                (section.sh_type.get(), offset, size)
            }),
        };
        let Some((SHT_NOTE, offset, size)) = section else {
            continue;
        };
        let Some(notes) = SourceRange::new(offset, size) else {
            continue;
        };
        if let Some((offset, _)) = find_entry_note(source, notes, &mut notes_left)? {
            return Ok(Some((index, offset)));
        }
    }
    Ok(None)
}

/// File offset of the first PVH entry note, and whether its name has the terminating NUL. Notes are aligned to 4 bytes.
/// Examines at most `notes_left` notes, and subtracts their number.
fn find_entry_note(
    source: &SizedSource<'_>,
    notes: SourceRange,
    notes_left: &mut u32,
) -> Result<Option<(u64, bool)>, ReadError> {
    let mut offset = notes.offset();
    while offset < notes.end() {
        let Some(left) = notes_left.checked_sub(1) else {
            break;
        };
        *notes_left = left;
        let Some([name_len, desc_len, kind]) = read::<[U32; 3]>(source, offset)? else {
            break;
        };
        let name_at = offset.saturating_add(12);
        let name = read::<[u8; 4]>(source, name_at)?.unwrap_or_default();
        let has_nul = match name_len.get() {
            3 => Some(false),
            4 if name.ends_with(&[0]) => Some(true),
            _ => None,
        };
        if let (XEN_ELFNOTE_PHYS32_ENTRY, true, Some(has_nul)) = (kind.get(), name.starts_with(XEN), has_nul)
        {
            return Ok(Some((offset, has_nul)));
        }
        let padded = |len: U32| u64::from(len.get()).next_multiple_of(4);
        offset = name_at
            .saturating_add(padded(name_len))
            .saturating_add(padded(desc_len));
    }
    Ok(None)
}

/// The value at `offset`; `None` past the end of the source.
fn read<T: FromBytes + IntoBytes>(source: &SizedSource<'_>, offset: u64) -> Result<Option<T>, ReadError> {
    match source.read(offset) {
        Ok(value) => Ok(Some(value)),
        Err(error) if matches!(error.kind, ReadErrorKind::PastEnd(_)) => Ok(None),
        Err(error) => Err(error),
    }
}
