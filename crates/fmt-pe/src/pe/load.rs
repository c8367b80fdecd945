//! Loading of PE32+ images for UEFI ("PE Format"; UEFI 2.10, 2.1.1 "UEFI Images").
//!
//! [`ImageLayout`] has what a loader must provide and the checks that need no memory; [`ImageLayout::load`] copies and relocates.

mod error;
mod region;
mod relocate;

use alloc::vec::Vec;

use boot_core::arith;

use super::constants::{Machine, SectionFlags, Subsystem};
use super::file::PeFile;
use super::rva::RvaRange;
use super::section::Section;
pub use error::LoadError;
pub use region::{Permissions, Region};

/// Size of a page of UEFI in bytes, the granularity of memory permissions (UEFI 2.10, 7.2).
pub const PAGE_SIZE: u32 = 4096;

/// Memory that a PE32+ image for UEFI needs, and how to start it. All addresses are relative to the start of the image.
///
/// [`PeFile::parse`] has validated that headers and sections do not overlap and lie in the image.
///
/// ```
/// use boot_core::SizedSource;
/// use fmt_pe::pe::{PeFile, load::ImageLayout};
///
/// # fn example(file: &[u8]) -> Result<(), Box<dyn std::error::Error>> {
/// let pe = PeFile::parse(SizedSource::new(&file)?)?.ok_or("not a PE file")?;
/// let layout = ImageLayout::new(&pe)?;
/// let mut memory = vec![0xff; layout.size as usize]; // Real firmware allocates pages at a multiple of `layout.alignment`.
/// let address = layout.required_address.unwrap_or(0x4000_0000);
/// layout.load(&pe, &mut memory, address)?;
/// println!("start at {:#x}", address + u64::from(layout.entry));
/// for region in &layout.regions {
///     println!("{} {}", region.range, region.permissions); // 0x1000..0x9000 r-x
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ImageLayout {
    /// Machine type. The caller compares it with its own.
    pub machine: Machine,
    /// Subsystem: an EFI application, boot service driver or runtime driver. It selects the types of the memory.
    pub subsystem: Subsystem,
    /// `SizeOfImage` in bytes.
    pub size: u32,
    /// Alignment of the load address: `SectionAlignment`, and at least [`PAGE_SIZE`].
    pub alignment: u32,
    /// Address that the image was linked for, if it cannot be loaded elsewhere because its base relocations were stripped.
    /// Otherwise its `ImageBase` is a preference, which this crate ignores.
    pub required_address: Option<u64>,
    /// RVA of the entry point, inside an executable section.
    pub entry: u32,
    /// True if the image states that it runs with data that is not executable and code that is not writable
    /// (`NX_COMPAT`). Other images may execute memory that they allocate as data.
    pub is_nx_compatible: bool,
    /// Access rights of the whole image: ranges in ascending order, without gaps, that start at multiples of
    /// [`PAGE_SIZE`]. One range with all rights if a section starts elsewhere, as in images that were linked with a
    /// smaller `SectionAlignment`.
    pub regions: Vec<Region>,
}

impl ImageLayout {
    /// Checks that an image can be loaded, and computes what it needs. Nothing is read.
    ///
    /// # Errors
    ///
    /// [`LoadError`] if the image is PE32, not for UEFI, or has no entry point in an executable section.
    pub fn new(pe: &PeFile<'_>) -> Result<Self, LoadError> {
        let header = pe.optional_header();
        let (machine, subsystem) = (pe.machine(), header.subsystem);
        if !header.is_pe32_plus {
            return Err(LoadError::Pe32 { machine });
        }
        if !matches!(
            subsystem,
            Subsystem::EFI_APPLICATION | Subsystem::EFI_BOOT_SERVICE_DRIVER | Subsystem::EFI_RUNTIME_DRIVER
        ) {
            return Err(LoadError::Subsystem { subsystem });
        }
        let entry = pe.entry_point().ok_or(LoadError::NoEntryPoint)?;
        let holds_entry = |section: &&Section| (section.range.start()..section.range.end()).contains(&entry);
        let section = pe.sections().iter().find(holds_entry);
        match section {
            Some(section) if section.flags.contains(SectionFlags::MEM_EXECUTE) => {}
            _ => {
                return Err(LoadError::EntryNotExecutable {
                    entry,
                    section: section.map(|section| section.name),
                });
            }
        }
        Ok(Self {
            machine,
            subsystem,
            size: header.size_of_image,
            alignment: header.section_alignment.max(PAGE_SIZE),
            required_address: pe.is_relocs_stripped().then_some(header.image_base),
            entry,
            is_nx_compatible: header.is_nx_compatible(),
            regions: region::regions(pe),
        })
    }

    /// Loads the image into the first [`size`](Self::size) bytes of `memory`, for the address `address` of the first byte:
    /// headers and sections at their RVAs, zeros between them, base relocations applied. `pe` is the file of this layout.
    ///
    /// One read per section; the number of base relocations is at most half the length of their table. Bytes of `memory`
    /// after the image stay as they are.
    ///
    /// # Errors
    ///
    /// [`LoadError`]; the content of `memory` is then unspecified, and must not be started.
    pub fn load(&self, pe: &PeFile<'_>, memory: &mut [u8], address: u64) -> Result<(), LoadError> {
        let found = arith::to_u64(memory.len());
        let len = usize::try_from(self.size).unwrap_or(usize::MAX);
        let memory = memory.get_mut(..len).ok_or(LoadError::TooSmall {
            found,
            need: self.size,
        })?;
        self.check_address(address)?;
        copy(pe, memory)?;
        let delta = address.wrapping_sub(pe.optional_header().image_base);
        for relocation in pe.relocations()? {
            relocate::apply(memory, relocation?, delta)?;
        }
        Ok(())
    }

    /// Checks the load address.
    fn check_address(&self, address: u64) -> Result<(), LoadError> {
        let (alignment, size) = (self.alignment, self.size);
        if arith::align_down(address, alignment.into()) != address
            || address.checked_add(size.into()).is_none()
        {
            return Err(LoadError::Address {
                address,
                alignment,
                size,
            });
        }
        match self.required_address {
            Some(required) if required != address => {
                Err(LoadError::RelocationsStripped { address, required })
            }
            _ => Ok(()),
        }
    }
}

/// Copies headers and sections, and zeroes the rest of `memory`, which has the length of the image.
fn copy(pe: &PeFile<'_>, memory: &mut [u8]) -> Result<(), LoadError> {
    let headers = pe.headers();
    let mut parts: Vec<(u32, boot_core::SourceRange)> = pe
        .sections()
        .iter()
        .map(|section| (section.range.start(), section.data))
        .filter(|(_, data)| !data.is_empty())
        .collect();
    parts.push((0, headers));
    parts.sort_unstable_by_key(|(start, _)| *start);
    let mut done = 0_usize;
    for (start, data) in parts {
        let start = usize::try_from(start).unwrap_or(usize::MAX);
        let end = start.saturating_add(usize::try_from(data.len()).unwrap_or(usize::MAX));
        // The parser has checked both bounds: nothing is skipped.
        if let Some(gap) = memory.get_mut(done..start) {
            gap.fill(0);
        }
        if let Some(part) = memory.get_mut(start..end) {
            pe.source.read_exact_at(data.offset(), part)?;
        }
        done = end;
    }
    if let Some(rest) = memory.get_mut(done..) {
        rest.fill(0);
    }
    Ok(())
}

/// Range of the pages from `start` to `end`; the parser has checked `start <= end`.
fn range(start: u32, end: u32) -> RvaRange {
    RvaRange::new(start, end.saturating_sub(start)).unwrap_or_default()
}
