//! The parser of PE headers.

use alloc::vec::Vec;

use boot_core::{SizedSource, SourceRange, arith};
use zerocopy::FromBytes;

use super::checksum;
use super::constants::{DirectoryEntry, MAX_SECTIONS, Machine};
use super::error::{Malformed, PeError, Unsupported};
use super::optional::{self, OptionalHeader, check_headers_end, read};
use super::raw;
use super::relocations::Relocations;
use super::rva::RvaRange;
use super::section::{Section, file_range};

/// Validated PE32 or PE32+ image file.
///
/// - Headers and sections lie inside the image and do not overlap.
/// - The file range of every section lies inside the file, after the headers, and is not longer than the section in memory.
/// - The entry point, if any, lies inside the image.
#[derive(Clone, Debug)]
pub struct PeFile<'a> {
    pub(super) source: SizedSource<'a>,
    pe_offset: u64,
    machine: Machine,
    is_relocs_stripped: bool,
    optional: OptionalHeader,
    directories: Vec<DataDirectory>,
    sections: Vec<Section>,
    /// File offset of the data directories.
    directories_offset: u64,
}

/// Data directory: location of a table. It is not checked; [`PeFile::data_at`] returns its file range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct DataDirectory {
    /// RVA of the table; for the certificate table, its file offset.
    pub virtual_address: u32,
    /// Length in bytes.
    pub size: u32,
}

impl<'a> PeFile<'a> {
    /// Parses and validates the headers. `Ok(None)` if the source does not begin with "MZ", or does not have "PE\0\0" at
    /// the offset in the DOS header.
    ///
    /// # Errors
    ///
    /// [`PeError`] if the source has both but is malformed or unsupported, or if it cannot be read.
    pub fn parse(source: SizedSource<'a>) -> Result<Option<Self>, PeError> {
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
        check_headers_end(&source, end)?;
        check_sizes(&source, &optional, end)?;

        // One read for the table: at most 20 KiB, which are in the file.
        let len = usize::from(found).saturating_mul(size_of::<raw::SectionHeader>());
        let bytes = source.read_vec(table, len)?;
        let mut sections = Vec::with_capacity(found.into());
        for header in bytes.chunks_exact(size_of::<raw::SectionHeader>()) {
            // Chunks have the length of a header: nothing is skipped.
            if let Ok(header) = raw::SectionHeader::ref_from_bytes(header) {
                sections.push(Section::new(header, source.len(), &optional)?);
            }
        }
        check_overlaps(&sections, optional.size_of_headers)?;
        Ok(Some(Self {
            source,
            pe_offset,
            machine: Machine(coff.machine.get()),
            is_relocs_stripped: coff.characteristics.get() & raw::RELOCS_STRIPPED != 0,
            optional,
            directories,
            sections,
            directories_offset: optional_offset.saturating_add(fixed),
        }))
    }

    /// Machine type.
    #[must_use]
    pub fn machine(&self) -> Machine {
        self.machine
    }

    /// True if the base relocations were removed (`IMAGE_FILE_RELOCS_STRIPPED`): the image must be loaded at
    /// [`OptionalHeader::image_base`]. Otherwise it may be relocated, even without base relocations: a position-independent
    /// image such as a kernel with an EFI stub needs none.
    #[must_use]
    pub fn is_relocs_stripped(&self) -> bool {
        self.is_relocs_stripped
    }

    /// Optional header.
    #[must_use]
    pub fn optional_header(&self) -> &OptionalHeader {
        &self.optional
    }

    /// RVA of the entry point; `None` if there is none.
    #[must_use]
    pub fn entry_point(&self) -> Option<u32> {
        let entry = self.optional.address_of_entry_point;
        (entry != 0).then_some(entry)
    }

    /// File range of the headers. They are loaded to the start of the image.
    #[must_use]
    pub fn headers(&self) -> SourceRange {
        SourceRange::whole(self.optional.size_of_headers.into())
    }

    /// Sections, in the order of the section table.
    #[must_use]
    pub fn sections(&self) -> &[Section] {
        &self.sections
    }

    /// First section with this name.
    #[must_use]
    pub fn section(&self, name: &[u8]) -> Option<&Section> {
        self.sections
            .iter()
            .find(|section| section.name.as_bytes() == name)
    }

    /// Data directory; `None` if it is absent or empty.
    #[must_use]
    pub fn directory(&self, directory: DirectoryEntry) -> Option<DataDirectory> {
        let entry = self.directories.get(usize::from(directory.0)).copied();
        entry.filter(|entry| entry.size != 0)
    }

    /// File range of the bytes at `range` in memory; `None` if they are not all in the headers or in the file range of one
    /// section.
    #[must_use]
    pub fn data_at(&self, range: RvaRange) -> Option<SourceRange> {
        let in_headers = file_range(0, self.headers(), range);
        in_headers.or_else(|| self.sections.iter().find_map(|section| section.file_range(range)))
    }

    /// Base relocations. There are none without a base relocation table;
    /// [`is_relocs_stripped`](Self::is_relocs_stripped) tells whether the image may be relocated.
    ///
    /// # Errors
    ///
    /// [`Malformed::DirectoryOutsideFile`] if the table does not lie in the file. Errors of entries and of the source are
    /// items of the iterator.
    pub fn relocations(&self) -> Result<Relocations<'a>, PeError> {
        let table = match self.directory(DirectoryEntry::BASE_RELOCATION) {
            None => (RvaRange::default(), SourceRange::whole(0)),
            Some(DataDirectory {
                virtual_address: start,
                size,
            }) => RvaRange::new(start, size)
                .and_then(|range| Some((range, self.data_at(range)?)))
                .ok_or(Malformed::DirectoryOutsideFile {
                    directory: DirectoryEntry::BASE_RELOCATION,
                    start,
                    size,
                })?,
        };
        Ok(Relocations::new(self.source, table, self.optional.size_of_image))
    }

    /// Computes the checksum of the whole file: the value that [`OptionalHeader::check_sum`] must have unless that is zero.
    ///
    /// # Errors
    ///
    /// [`PeError::Read`].
    pub fn compute_check_sum(&self) -> Result<u32, PeError> {
        Ok(checksum::compute(&self.source, self.check_sum_offset())?)
    }

    /// File offset of the eight bytes of a data directory; `None` if the header has fewer directories. The directory may be empty.
    #[must_use]
    pub fn directory_offset(&self, directory: DirectoryEntry) -> Option<u64> {
        let _entry = self.directories.get(usize::from(directory.0))?;
        let offset = u64::from(directory.0).saturating_mul(arith::to_u64(size_of::<raw::DataDirectory>()));
        Some(self.directories_offset.saturating_add(offset))
    }

    /// File offset of the four bytes of `CheckSum`, which signatures do not cover.
    #[must_use]
    pub fn check_sum_offset(&self) -> u64 {
        let optional = arith::to_u64(size_of::<raw::CoffHeader>()).saturating_add(4);
        self.pe_offset
            .saturating_add(optional)
            .saturating_add(arith::to_u64(raw::CHECK_SUM_OFFSET))
    }
}

/// File offset of the PE signature, if there is one.
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

/// Reads the data directories, which must fit the optional header. Those beyond the specified sixteen are ignored.
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
    check_headers_end(source, found.into())?;
    let entry = optional.address_of_entry_point;
    if entry >= image {
        return Err(Malformed::EntryPoint { found: entry, image });
    }
    Ok(())
}

/// Checks that sections and headers do not overlap in memory.
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
