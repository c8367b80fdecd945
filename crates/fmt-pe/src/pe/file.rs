//! From bytes to a validated PE file.

use alloc::vec::Vec;

use boot_core::{SizedSource, SourceRange, arith};

use super::optional::{self, OptionalHeader, check_cut, read};
use super::relocations::Relocations;
use super::section::{RvaRange, Section, file_part};
use super::{Characteristics, Directory, Machine, Malformed, PeError, Unsupported, checksum, raw};

/// How many sections a file may have. Windows takes 96; unified kernel images have some for every profile.
pub const MAX_SECTIONS: u16 = 512;

/// A validated PE32 or PE32+ image file.
///
/// Whatever bytes it was made of, these hold:
///
/// - headers and sections lie inside the image, and no two of them share an address;
/// - the bytes of every section lie inside the file and behind the headers, and are not more than the section has in
///   memory;
/// - the entry point, if any, lies inside the image.
#[derive(Clone, Debug)]
pub struct PeFile<'a> {
    source: SizedSource<'a>,
    pe_offset: u64,
    machine: Machine,
    time_date_stamp: u32,
    characteristics: Characteristics,
    optional: OptionalHeader,
    directories: Vec<DataDirectory>,
    sections: Vec<Section>,
}

/// Where a table is in memory. Not checked: [`PeFile::data_at`] says where its bytes are, if anywhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DataDirectory {
    /// Its start relative to the image; in the directory of certificates, its file offset.
    pub virtual_address: u32,
    /// Its length in bytes.
    pub size: u32,
}

impl<'a> PeFile<'a> {
    /// Reads and validates the headers. `Ok(None)` means that the source is something else: it has no "MZ" at its
    /// start, or no "PE\0\0" where the DOS header points.
    ///
    /// # Errors
    ///
    /// [`PeError`] where the source has both, but is malformed, not supported or cannot be read.
    pub fn open(source: SizedSource<'a>) -> Result<Option<Self>, PeError> {
        let Some(pe_offset) = find_signature(&source)? else {
            return Ok(None);
        };
        let coff_offset = pe_offset.saturating_add(4);
        let coff: raw::CoffHeader = read(&source, coff_offset)?;
        let optional_offset = coff_offset.saturating_add(arith::to_u64(size_of::<raw::CoffHeader>()));
        let (optional, fixed) = optional::read_fixed(&source, optional_offset)?;
        let directories = read_directories(&source, &coff, &optional, optional_offset, fixed)?;

        let found = coff.number_of_sections.get();
        if found > MAX_SECTIONS {
            return Err(Unsupported::TooManySections { found }.into());
        }
        let table = optional_offset.saturating_add(coff.size_of_optional_header.get().into());
        let size = arith::to_u64(size_of::<raw::SectionHeader>());
        let end = table.saturating_add(u64::from(found).saturating_mul(size));
        check_cut(&source, end)?;
        check_sizes(&source, &optional, end)?;

        let mut sections = Vec::with_capacity(found.into());
        for index in 0..u64::from(found) {
            let header = source.read(table.saturating_add(index.saturating_mul(size)))?;
            sections.push(Section::new(&header, source.len(), &optional)?);
        }
        check_overlaps(&sections, optional.size_of_headers)?;
        Ok(Some(Self {
            source,
            pe_offset,
            machine: Machine(coff.machine.get()),
            time_date_stamp: coff.time_date_stamp.get(),
            characteristics: Characteristics::from_bits_retain(coff.characteristics.get()),
            optional,
            directories,
            sections,
        }))
    }

    /// What it runs on.
    #[must_use]
    pub fn machine(&self) -> Machine {
        self.machine
    }

    /// When it was made, in seconds since 1970; or a hash, or zero, in reproducible builds.
    #[must_use]
    pub fn time_date_stamp(&self) -> u32 {
        self.time_date_stamp
    }

    /// What kind of file it is.
    #[must_use]
    pub fn characteristics(&self) -> Characteristics {
        self.characteristics
    }

    /// Whether it must be loaded at [`OptionalHeader::image_base`]: its base relocations were removed
    /// (`IMAGE_FILE_RELOCS_STRIPPED`). Otherwise it may be moved, even where it has none: a position-independent program
    /// such as a kernel with an EFI stub needs none.
    #[must_use]
    pub fn is_fixed(&self) -> bool {
        self.characteristics.contains(Characteristics::RELOCS_STRIPPED)
    }

    /// The optional header.
    #[must_use]
    pub fn optional_header(&self) -> &OptionalHeader {
        &self.optional
    }

    /// The entry point, relative to the image. `None` where there is none, as in a library.
    #[must_use]
    pub fn entry_point(&self) -> Option<u32> {
        let entry = self.optional.address_of_entry_point;
        (entry != 0).then_some(entry)
    }

    /// The file offset of the PE signature (`e_lfanew` of the DOS header), which the COFF file header follows.
    #[must_use]
    pub fn pe_offset(&self) -> u64 {
        self.pe_offset
    }

    /// What is between the DOS header and the PE signature: usually a program for MS-DOS (the "MS-DOS Stub"), or a
    /// kernel's own code and data. Empty where the signature follows the DOS header at once, or lies inside it.
    #[must_use]
    pub fn dos_stub(&self) -> SourceRange {
        let start = arith::to_u64(size_of::<raw::DosHeader>());
        let len = self.pe_offset.saturating_sub(start);
        SourceRange::new(start, len).unwrap_or(SourceRange::whole(0))
    }

    /// The headers, which go to the start of the image.
    #[must_use]
    pub fn headers(&self) -> SourceRange {
        SourceRange::whole(self.optional.size_of_headers.into())
    }

    /// The sections, in the order of the section table.
    #[must_use]
    pub fn sections(&self) -> &[Section] {
        &self.sections
    }

    /// The first section of one name.
    #[must_use]
    pub fn section(&self, name: &[u8]) -> Option<&Section> {
        self.sections
            .iter()
            .find(|section| section.name.as_bytes() == name)
    }

    /// A data directory. `None` where the file does not have it, or has it empty.
    #[must_use]
    pub fn directory(&self, directory: Directory) -> Option<DataDirectory> {
        let entry = self.directories.get(usize::from(directory.0)).copied();
        entry.filter(|entry| entry.size != 0)
    }

    /// The bytes of the file that are at `range` in memory. `None` where they are in no section and not in the headers,
    /// or in a part of a section that the file does not fill.
    #[must_use]
    pub fn data_at(&self, range: RvaRange) -> Option<SourceRange> {
        let in_headers = file_part(0, self.headers(), range);
        in_headers.or_else(|| self.sections.iter().find_map(|section| section.file_part(range)))
    }

    /// The base relocations: what a loader adds its distance from [`OptionalHeader::image_base`] to. Where there is no
    /// table, there are none; whether the image may be moved at all is what [`is_fixed`](Self::is_fixed) says.
    ///
    /// # Errors
    ///
    /// [`Malformed::DirectoryOutside`] where the table is not in the file. What is wrong with an entry, or where the source
    /// fails, is an error of the iterator.
    pub fn relocations(&self) -> Result<Relocations<'a>, PeError> {
        let table = match self.directory(Directory::BASE_RELOCATION) {
            None => (RvaRange::default(), SourceRange::whole(0)),
            Some(DataDirectory {
                virtual_address: start,
                size,
            }) => RvaRange::new(start, size)
                .and_then(|range| Some((range, self.data_at(range)?)))
                .ok_or(Malformed::DirectoryOutside {
                    directory: Directory::BASE_RELOCATION,
                    start,
                    size,
                })?,
        };
        Ok(Relocations::new(
            self.source,
            table,
            self.machine,
            self.optional.size_of_image,
        ))
    }

    /// Computes the checksum that `CheckSum` should have, over the whole file.
    ///
    /// # Errors
    ///
    /// [`PeError::Read`] where the source fails.
    pub fn compute_check_sum(&self) -> Result<u32, PeError> {
        Ok(checksum::compute(&self.source, self.check_sum_offset())?)
    }

    /// The file offset of `CheckSum`: signers and checkers leave its four bytes out.
    #[must_use]
    pub fn check_sum_offset(&self) -> u64 {
        let optional = arith::to_u64(size_of::<raw::CoffHeader>()).saturating_add(4);
        self.pe_offset
            .saturating_add(optional)
            .saturating_add(arith::to_u64(raw::CHECK_SUM_OFFSET))
    }
}

/// Where the PE signature is, if there is one.
fn find_signature(source: &SizedSource<'_>) -> Result<Option<u64>, PeError> {
    let size = arith::to_u64(size_of::<raw::DosHeader>());
    if source.len() < size {
        return Ok(None);
    }
    let dos: raw::DosHeader = source.read(0)?;
    if dos.e_magic != raw::DOS_MAGIC {
        return Ok(None);
    }
    let offset = u64::from(dos.e_lfanew.get());
    let mut signature = [0; 4];
    let read = source.read_prefix_at(offset, &mut signature)?;
    Ok((read == signature.len() && signature == raw::PE_SIGNATURE).then_some(offset))
}

/// The data directories, which must fit the optional header. Those that have no meaning are left out.
fn read_directories(
    source: &SizedSource<'_>,
    coff: &raw::CoffHeader,
    optional: &OptionalHeader,
    offset: u64,
    fixed: u64,
) -> Result<Vec<DataDirectory>, PeError> {
    let size = arith::to_u64(size_of::<raw::DataDirectory>());
    let directories = optional.number_of_rva_and_sizes;
    let need = fixed.saturating_add(u64::from(directories).saturating_mul(size));
    let found = coff.size_of_optional_header.get();
    if need > found.into() {
        return Err(Malformed::OptionalHeaderTooShort {
            offset,
            found,
            directories,
            need,
        }
        .into());
    }
    let first = offset.saturating_add(fixed);
    (0..u64::from(directories).min(arith::to_u64(raw::DIRECTORIES)))
        .map(|index| {
            let entry: raw::DataDirectory = read(source, first.saturating_add(index.saturating_mul(size)))?;
            Ok(DataDirectory {
                virtual_address: entry.virtual_address.get(),
                size: entry.size.get(),
            })
        })
        .collect()
}

/// Checks the sizes and alignments of headers that end at `end`.
fn check_sizes(source: &SizedSource<'_>, optional: &OptionalHeader, end: u64) -> Result<(), Malformed> {
    let (section, file) = (optional.section_alignment, optional.file_alignment);
    if !section.is_power_of_two() || !file.is_power_of_two() || file > section {
        return Err(Malformed::Alignment { section, file });
    }
    let (found, image) = (optional.size_of_headers, optional.size_of_image);
    if u64::from(found) < end || found > image {
        return Err(Malformed::SizeOfHeaders { found, end, image });
    }
    check_cut(source, found.into())?;
    let entry = optional.address_of_entry_point;
    if entry >= image {
        return Err(Malformed::EntryPoint { found: entry, image });
    }
    Ok(())
}

/// Checks that no two sections, nor a section and the headers, share an address.
fn check_overlaps(sections: &[Section], size_of_headers: u32) -> Result<(), Malformed> {
    let mut sorted: Vec<&Section> = sections
        .iter()
        .filter(|section| !section.range.is_empty())
        .collect();
    sorted.sort_unstable_by_key(|section| section.range);
    let mut other = RvaRange::new(0, size_of_headers).unwrap_or_default();
    for section in sorted {
        if section.range.overlaps(other) {
            return Err(Malformed::SectionsOverlap {
                name: section.name,
                range: section.range,
                other,
            });
        }
        other = section.range;
    }
    Ok(())
}
