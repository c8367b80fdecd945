//! PE files: the sections that other parsers find.

use std::panic;

use ::object::pe::{ImageDosHeader, ImageNtHeaders32, ImageNtHeaders64};
use ::object::read::pe::{ImageNtHeaders, PeFile as ObjectPe};
use boot_core::SizedSource;
use fmt_pe::pe::PeFile;
use libtest_mimic::Failed;

use crate::family::FAMILIES;
use crate::matrix::{ACCEPTED, Matrix, REFUSED, class};

/// A section: its address and length in memory, its offset and length in the file.
pub(crate) type Section = [u32; 4];

/// Entry point, length in memory, and sections.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Found {
    entry: u32,
    size: u32,
    sections: Vec<Section>,
}

/// A parser.
pub(crate) type Peer = fn(&[u8]) -> Option<Found>;

/// The same file by this workspace's parser.
pub(crate) fn of_file(pe: &PeFile<'_>) -> Found {
    let sections = pe.sections().iter().map(|section| {
        let [offset, len] =
            [section.raw.offset(), section.raw.len()].map(|value| u32::try_from(value).unwrap());
        normal([section.range.start(), section.range.len(), offset, len])
    });
    Found {
        entry: pe.entry_point().unwrap_or_default(),
        size: pe.optional_header().size_of_image,
        sections: sections.collect(),
    }
}

/// The offset of a section without bytes in the file does not matter, and a section without a size in memory has that in the file.
fn normal([at, size, offset, len]: Section) -> Section {
    let has_data = offset != 0 && len != 0;
    let (offset, len) = if has_data { (offset, len) } else { (0, 0) };
    [at, size, offset, len]
}

fn by_object<H: ImageNtHeaders>(file: &[u8]) -> Option<Found> {
    use ::object::read::pe::ImageOptionalHeader as _;
    let pe = ObjectPe::<H>::parse(file).ok()?;
    let header = pe.nt_headers().optional_header();
    let sections = pe.section_table();
    let sections = sections.iter().map(|section| {
        let [at, size, len, offset] = [
            section.virtual_address.get(::object::LittleEndian),
            section.virtual_size.get(::object::LittleEndian),
            section.size_of_raw_data.get(::object::LittleEndian),
            section.pointer_to_raw_data.get(::object::LittleEndian),
        ];
        normal([at, if size == 0 { len } else { size }, offset, len])
    });
    Some(Found {
        entry: header.address_of_entry_point(),
        size: header.size_of_image(),
        sections: sections.collect(),
    })
}

/// The crate `object`.
pub(crate) fn object(file: &[u8]) -> Option<Found> {
    ImageDosHeader::parse(file).ok()?;
    by_object::<ImageNtHeaders64>(file).or_else(|| by_object::<ImageNtHeaders32>(file))
}

/// The crate `goblin`.
pub(crate) fn goblin(file: &[u8]) -> Option<Found> {
    let pe = ::goblin::pe::PE::parse(file).ok()?;
    let header = pe.header.optional_header?;
    let sections = pe.sections.iter().map(|section| {
        let size = if section.virtual_size == 0 {
            section.size_of_raw_data
        } else {
            section.virtual_size
        };
        normal([
            section.virtual_address,
            size,
            section.pointer_to_raw_data,
            section.size_of_raw_data,
        ])
    });
    Some(Found {
        entry: header.standard_fields.address_of_entry_point,
        size: header.windows_fields.size_of_image,
        sections: sections.collect(),
    })
}

/// Compares all PE files of the corpus.
pub(crate) fn compare(section: &str, peer: Peer) -> Result<(), Failed> {
    let mut matrix = Matrix::default();
    for family in FAMILIES
        .iter()
        .filter(|family| matches!(family.name, "pe" | "uki"))
    {
        family.for_each(&mut |name, file| {
            let source = SizedSource::new(&file).unwrap();
            let (ours, found) = match PeFile::parse(source) {
                Ok(Some(pe)) => (ACCEPTED.to_owned(), Some(of_file(&pe))),
                Ok(None) => ("not PE".to_owned(), None),
                Err(error) => (class(&error), None),
            };
            let theirs = match panic::catch_unwind(|| peer(&file)) {
                Err(_) => "panic",
                Ok(None) => REFUSED,
                Ok(Some(theirs)) if found.is_some_and(|found| found != theirs) => "other sections",
                Ok(Some(_)) => ACCEPTED,
            };
            matrix.add(name, &ours, theirs);
        });
    }
    matrix.check(section)
}
