//! From a file with a Multiboot header to a kernel image.

use alloc::vec::Vec;

use boot_core::{
    Arch, ByteSource, Endian, EntryAbi, EntryPoint, ImageBuilder, KernelImage, Placement, SizedSource,
};
use boot_multiboot::{MULTIBOOT, MULTIBOOT2, v2::SEARCH_LEN};

use crate::error::{Expected, MultibootError, Unsupported};
use crate::header::{at, expect};
use crate::layout::{Layout, covers};
use crate::warning::Warning;
use crate::{v1, v2};

/// The name of the format.
pub(crate) const NAME: &str = "multiboot";

/// What a PE file begins with.
const PE_MAGIC: &[u8] = b"MZ";

/// Parses a kernel image with a Multiboot header of either version. `Ok(None)` means that the file has none, or is for
/// another format: an ELF file of another architecture, or a PE file without load addresses in the header.
///
/// The first 32 KiB are read, and what [`fmt_elf::parse`] reads. See the crate's page for what is accepted.
///
/// # Errors
///
/// [`MultibootError`] where the header or the ELF file around it is malformed, is not supported, or cannot be read.
pub fn parse(source: &dyn ByteSource) -> Result<Option<KernelImage>, MultibootError> {
    let sized = SizedSource::new(source)?;
    let len = usize::try_from(sized.len()).unwrap_or(usize::MAX).min(SEARCH_LEN);
    let start = sized.read_vec(0, len)?;
    let (first, second) = (v1::read_header(&start)?, v2::read_header(&start)?);
    let Some(offset) = (match (&first, &second) {
        (_, Some(second)) => Some(second.metadata.offset),
        (Some(first), None) => Some(first.metadata.offset),
        (None, None) => None,
    }) else {
        return Ok(None);
    };
    let first_load = first.as_ref().and_then(|found| found.load.as_ref());
    let second_load = second.as_ref().map(v2::Found::load).transpose()?.flatten();
    let has_addresses = first_load.is_some() || second_load.is_some();

    let elf = match fmt_elf::parse(source) {
        Ok(elf) => elf,
        // The load addresses count in place of the ELF headers.
        Err(_) if has_addresses => None,
        Err(error) => return Err(error.into()),
    };
    match &elf {
        Some(elf) if elf.arch() != Arch::X86_64 => return Ok(None),
        None if !has_addresses && start.starts_with(PE_MAGIC) => return Ok(None),
        None if !has_addresses => return Err(Unsupported::NoAddresses { offset }.into()),
        _ => {}
    }

    let mut candidates = Candidates {
        elf,
        list: Vec::new(),
    };
    if let Some(second) = &second {
        let entry = second.metadata.entry;
        let candidate = match &second_load {
            Some(load) => Some(([load.segment(sized)?].into(), load.entry.into())),
            None => candidates.in_elf(offset, entry.map(|entry| (entry, second.entry_at)))?,
        };
        candidates.add(MULTIBOOT2, candidate);
    }
    let first_candidate = match (&first, first_load) {
        (_, Some(load)) => Some(([load.segment(sized)?].into(), load.entry.into())),
        (Some(first), None) => candidates.in_elf(first.metadata.offset, None)?,
        (None, None) => None,
    };
    candidates.add(MULTIBOOT, first_candidate);

    let mut builder = candidates.merge(sized.len());
    if let Some(second) = second {
        builder = builder.metadata(second.metadata);
    }
    if let Some(first) = first {
        builder = builder.metadata(first.metadata);
    }
    Ok(Some(builder.build()?))
}

/// A layout and the entry points that need it.
struct Candidate {
    layout: Layout,
    entries: Vec<EntryPoint>,
    /// How the image may be moved.
    placement: Placement,
}

/// What the headers of a file ask for.
struct Candidates {
    /// The file as its ELF headers describe it.
    elf: Option<KernelImage>,
    /// The Multiboot entry points, the preferred one first.
    list: Vec<Candidate>,
}

impl Candidates {
    /// The Multiboot entry point of an ELF file without load addresses in the header: that of the entry address tag (with
    /// the file offset of its field), else `e_entry`. `None` where the file is no ELF file.
    fn in_elf(&self, header: u64, tag: Option<(u32, u64)>) -> Result<Option<(Layout, u64)>, MultibootError> {
        let Some(elf) = &self.elf else {
            return Ok(None);
        };
        let entry = if let Some((entry, entry_at)) = tag {
            let entry = u64::from(entry);
            let mut segments = elf.segments().iter();
            if !segments.any(|segment| segment.range.contains_addr(entry)) {
                let extent = elf.extent();
                expect(
                    at("entry_addr", entry_at, 0),
                    entry,
                    Expected::Inside(extent.start(), extent.end()),
                )?;
            }
            entry
        } else {
            elf.entry(EntryAbi::ELF32)
                .or(elf.entry(EntryAbi::ELF64))
                .ok_or(MultibootError::NoEntry { offset: header })?
                .addr
        };
        Ok(Some((elf.segments().to_vec(), entry)))
    }

    fn add(&mut self, abi: EntryAbi, candidate: Option<(Layout, u64)>) {
        self.list.extend(candidate.map(|(layout, addr)| Candidate {
            layout,
            entries: [EntryPoint::new(abi, addr)].into(),
            placement: Placement::Fixed,
        }));
    }

    /// One image of all of them: the layout of the preferred one, grown where another only adds to it, and the entry points
    /// that are right in it.
    fn merge(self, source_len: u64) -> ImageBuilder {
        let Self { elf, mut list } = self;
        let mut builder = ImageBuilder::new(NAME, Arch::X86_64, Endian::Little, source_len);
        if let Some(elf) = &elf {
            for warning in elf.warnings() {
                if let Some(warning) = warning.downcast_ref::<fmt_elf::Warning>() {
                    builder = builder.warning(*warning);
                }
            }
            let has_second = list
                .first()
                .is_some_and(|first| first.entries.iter().any(|entry| entry.abi == MULTIBOOT2));
            let is_before_first = !has_second && elf.entry(EntryAbi::PVH).is_some();
            let position = if is_before_first { 0 } else { list.len() };
            list.insert(
                position,
                Candidate {
                    layout: elf.segments().to_vec(),
                    entries: elf.entries().to_vec(),
                    placement: elf.placement(),
                },
            );
        }
        let mut base = Layout::new();
        let mut entries: Vec<EntryPoint> = Vec::new();
        let mut placement = Placement::Fixed;
        for candidate in list {
            let grows = covers(&candidate.layout, &base);
            if grows || covers(&base, &candidate.layout) {
                if grows {
                    base = candidate.layout;
                }
                entries.extend(candidate.entries);
                if candidate.placement != Placement::Fixed {
                    placement = candidate.placement;
                }
            } else {
                for entry in candidate.entries {
                    builder = builder.warning(Warning::EntryLeftOut { abi: entry.abi });
                }
            }
        }
        for segment in base {
            builder = builder.segment(segment.source, segment.range);
        }
        for entry in entries {
            builder = builder.entry(entry.abi, entry.addr);
        }
        builder.placement(placement)
    }
}
