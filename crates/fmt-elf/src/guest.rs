//! Guest programs of sandboxes: their note, and what it refers to.

use alloc::vec::Vec;

use boot_core::{Arch, Endian, GuestRange, Segment, SourceRange};
use boot_sandbox::{GuestImage, GuestNote, GuestSegment, LinkFeatures, SegmentAccess};

use crate::encoding::{Class, Encoding};
use crate::error::{ElfError, Unsupported};
use crate::file::ElfFile;
use crate::header::ProgramHeader;
use crate::notes::Note;
use crate::raw;

/// Highest number of bytes of a descriptor that are read. More are an error in any case.
const MAX_DESCRIPTOR: u64 = 0x1000;

/// A valid note, and the file offset of its descriptor.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FoundNote {
    offset: u64,
    note: GuestNote,
}

/// Whether this is the note of a guest.
pub(crate) fn is_note(file: &ElfFile<'_>, note: &Note) -> Result<bool, ElfError> {
    Ok(note.n_type == GuestNote::TYPE && note.has_name(&file.source(), GuestNote::OWNER.as_bytes())?)
}

/// Reads the note of a guest. `first` is an earlier one.
pub(crate) fn read_note(
    file: &ElfFile<'_>,
    note: &Note,
    arch: Arch,
    first: Option<FoundNote>,
) -> Result<FoundNote, ElfError> {
    let offset = note.desc.offset();
    let Encoding { class, endian } = file.encoding();
    if (class, endian) != (Class::Elf64, Endian::Little) {
        return Err(Unsupported::GuestEncoding {
            offset,
            class,
            endian,
        }
        .into());
    }
    if let Some(first) = first {
        let (first, second) = (first.offset, offset);
        return Err(ElfError::SecondGuestNote { first, second });
    }
    let len = usize::try_from(note.desc.len().min(MAX_DESCRIPTOR)).unwrap_or_default();
    let descriptor = file.source().read_vec(offset, len)?;
    match GuestNote::parse(arch, &descriptor) {
        Ok(note) => Ok(FoundNote { offset, note }),
        Err(source) => Err(ElfError::GuestNote { offset, source }),
    }
}

/// The metadata of a guest with this note, from the program headers, which are those of a valid image.
pub(crate) fn image(file: &ElfFile<'_>, arch: Arch, found: FoundNote) -> Result<GuestImage, ElfError> {
    let mut segments = Vec::new();
    let mut link = LinkFeatures::default();
    for header in file.program_headers() {
        let header = header?;
        match header.p_type {
            raw::PT_LOAD => segments.extend(segment(file, &header)?),
            raw::PT_GNU_RELRO if link.relro.is_none() => {
                link.relro = GuestRange::new(header.p_vaddr, header.p_memsz);
            }
            raw::PT_DYNAMIC => link.is_dynamic = true,
            raw::PT_TLS => link.has_thread_local_storage = true,
            _ => {}
        }
    }
    let FoundNote { offset, note } = found;
    GuestImage::new(arch, note, segments, link).map_err(|source| ElfError::GuestNote { offset, source })
}

/// The segment of a `PT_LOAD`; `None` if it is empty.
fn segment(file: &ElfFile<'_>, header: &ProgramHeader) -> Result<Option<GuestSegment>, ElfError> {
    let range = GuestRange::new(header.p_paddr, header.p_memsz).filter(|range| !range.is_empty());
    let Some(range) = range else {
        return Ok(None);
    };
    let source = match header.p_filesz {
        0 => SourceRange::whole(0),
        _ => file.content(header)?,
    };
    Ok(Some(GuestSegment {
        index: header.index,
        virt: header.p_vaddr,
        segment: Segment::new(source, range),
        access: SegmentAccess {
            write: header.p_flags & raw::PF_W != 0,
            execute: header.p_flags & raw::PF_X != 0,
        },
    }))
}
