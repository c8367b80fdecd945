//! ELF files: the segments that other parsers find.

use std::panic;

use ::object::elf::{FileHeader32, FileHeader64, PT_LOAD};
use ::object::endian::Endianness;
use ::object::read::elf::{FileHeader, ProgramHeader as _};
use boot_core::KernelImage;
use libtest_mimic::Failed;

use crate::family::FAMILIES;
use crate::matrix::{ACCEPTED, Matrix, REFUSED, class};

/// A segment: its offset and length in the file, its address and length in memory.
pub(crate) type Segment = [u64; 4];

/// The segments that are loaded, sorted by address.
pub(crate) type Segments = Vec<Segment>;

/// A parser.
pub(crate) type Peer = fn(&[u8]) -> Option<Segments>;

/// Segments with memory, sorted; the offset of a segment without bytes in the file does not matter.
pub(crate) fn sorted(segments: impl Iterator<Item = Segment>) -> Segments {
    let with_memory = segments.filter(|segment| segment[3] > 0);
    let mut segments: Vec<_> = with_memory
        .map(|[offset, len, at, size]| [if len == 0 { 0 } else { offset }, len, at, size])
        .collect();
    segments.sort_unstable_by_key(|segment| segment[2]);
    segments
}

/// The segments of this workspace's parser.
pub(crate) fn of_image(image: &KernelImage) -> Segments {
    sorted(image.segments().iter().map(|segment| {
        let (source, range) = (segment.source, segment.range);
        [source.offset(), source.len(), range.start(), range.len()]
    }))
}

fn by_object<H: FileHeader<Endian = Endianness>>(file: &[u8]) -> ::object::read::Result<Segments> {
    let header = H::parse(file)?;
    let endian = header.endian()?;
    let headers = header.program_headers(endian, file)?;
    let loads = headers.iter().filter(|segment| segment.p_type(endian) == PT_LOAD);
    Ok(sorted(loads.map(|segment| {
        [
            segment.p_offset(endian).into(),
            segment.p_filesz(endian).into(),
            segment.p_paddr(endian).into(),
            segment.p_memsz(endian).into(),
        ]
    })))
}

/// The crate `object`.
pub(crate) fn object(file: &[u8]) -> Option<Segments> {
    match file.get(4) {
        Some(1) => by_object::<FileHeader32<Endianness>>(file).ok(),
        _ => by_object::<FileHeader64<Endianness>>(file).ok(),
    }
}

/// The crate `goblin`.
pub(crate) fn goblin(file: &[u8]) -> Option<Segments> {
    let elf = ::goblin::elf::Elf::parse(file).ok()?;
    let loads = elf.program_headers.iter();
    let loads = loads.filter(|segment| segment.p_type == ::goblin::elf::program_header::PT_LOAD);
    Some(sorted(loads.map(|segment| {
        [
            segment.p_offset,
            segment.p_filesz,
            segment.p_paddr,
            segment.p_memsz,
        ]
    })))
}

/// Compares the segments of all ELF files of the corpus.
pub(crate) fn compare(section: &str, peer: Peer) -> Result<(), Failed> {
    let mut matrix = Matrix::default();
    let family = FAMILIES
        .iter()
        .find(|family| family.name == "elf")
        .ok_or("no such family")?;
    family.for_each(&mut |name, file| {
        let (ours, image) = match fmt_elf::parse(&file) {
            Ok(Some(image)) => (ACCEPTED.to_owned(), Some(image)),
            Ok(None) => ("not ELF".to_owned(), None),
            Err(error) => (class(&error), None),
        };
        let theirs = match panic::catch_unwind(|| peer(&file)) {
            Err(_) => "panic",
            Ok(None) => REFUSED,
            Ok(Some(segments)) if image.is_some_and(|image| of_image(&image) != segments) => "other segments",
            Ok(Some(_)) => ACCEPTED,
        };
        matrix.add(name, &ours, theirs);
    });
    matrix.check(section)
}
