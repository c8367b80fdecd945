//! Conversion of a file with a Multiboot header to a kernel image.

use alloc::vec::Vec;

use boot_core::format::FormatErrorKind;
use boot_core::{
    Arch, ByteSource, Endian, EntryAbi, EntryPoint, ImageBuilder, KernelImage, Placement, SizedSource,
};
use boot_linux::vmlinux::{Evidence, OtherMark};
use boot_multiboot::v2::SEARCH_LEN;
use boot_multiboot::{MULTIBOOT, MULTIBOOT2};
use fmt_elf::ElfError;

use crate::error::{MultibootError, Unsupported, ValidValues};
use crate::header::{check, field};
use crate::layout::{Layout, covers};
use crate::warning::Warning;
use crate::{v1, v2};

/// Name of the format.
pub(crate) const NAME: &str = "multiboot";

/// First bytes of a PE file.
const PE_MAGIC: &[u8] = b"MZ";

/// Parses a kernel image with a Multiboot header, a Multiboot2 header or both. `Ok(None)` if the source has neither, if it is
/// an ELF file of another architecture than x86, or if it is a PE file and the headers have no load addresses.
///
/// The headers are optional in an ELF file with a PVH entry point: if they are malformed or unsupported, the image has only
/// the entry points of the ELF file, and a [`Warning`].
///
/// Only the first 32 KiB and the headers and notes of an ELF file are read. The crate page lists what is accepted and how
/// entry points are combined.
///
/// # Errors
///
/// [`MultibootError`] if the source has a Multiboot header but is malformed or unsupported, or if it cannot be read.
pub fn parse(source: &dyn ByteSource) -> Result<Option<KernelImage>, MultibootError> {
    match parse_headers(source) {
        Err(error) if error.kind() != FormatErrorKind::Read => match fmt_elf::parse(source) {
            Ok(Some(elf)) if elf.entry(EntryAbi::PVH).is_some() => {
                without_headers(&elf, error.kind()).map(Some)
            }
            _ => Err(error),
        },
        result => result,
    }
}

/// A PVH kernel whose Multiboot headers cannot be used.
fn without_headers(elf: &KernelImage, kind: FormatErrorKind) -> Result<KernelImage, MultibootError> {
    let candidates = Candidates {
        elf: Some(elf.clone()),
        list: Vec::new(),
    };
    let builder = candidates.merge(elf.source_len());
    Ok(builder.warning(Warning::HeadersIgnored { kind }).build()?)
}

fn parse_headers(source: &dyn ByteSource) -> Result<Option<KernelImage>, MultibootError> {
    let sized = SizedSource::new(source)?;
    let len = usize::try_from(sized.len()).unwrap_or(usize::MAX).min(SEARCH_LEN);
    let start = sized.read_vec(0, len)?;
    let (multiboot, multiboot2) = (v1::read_header(&start)?, v2::read_header(&start)?);
    let Some(offset) = (match (&multiboot, &multiboot2) {
        (_, Some(multiboot2)) => Some(multiboot2.metadata.offset),
        (Some(multiboot), None) => Some(multiboot.metadata.offset),
        (None, None) => None,
    }) else {
        return Ok(None);
    };
    let multiboot_load = multiboot.as_ref().and_then(|found| found.load.as_ref());
    let multiboot2_load = multiboot2.as_ref().map(v2::Found::load).transpose()?.flatten();
    let has_addresses = multiboot_load.is_some() || multiboot2_load.is_some();

    let elf = match fmt_elf::parse(source) {
        Ok(elf) => elf,
        Err(ElfError::Read(error)) => return Err(error.into()),
        // The load addresses replace the ELF headers.
        Err(_) if has_addresses => None,
        Err(error) => return Err(error.into()),
    };
    match &elf {
        Some(elf) if elf.arch() != Arch::X86_64 => return Ok(None),
        None if !has_addresses && start.starts_with(PE_MAGIC) => return Ok(None),
        None if !has_addresses => return Err(Unsupported::NoLoadAddresses { offset }.into()),
        _ => {}
    }

    let mut candidates = Candidates {
        elf,
        list: Vec::new(),
    };
    if let Some(multiboot2) = &multiboot2 {
        let entry = multiboot2.metadata.entry;
        let candidate = match &multiboot2_load {
            Some(load) => Some(([load.segment(sized)?].into(), load.entry.into())),
            None => candidates.in_elf(offset, entry.map(|entry| (entry, multiboot2.entry_offset)))?,
        };
        candidates.add(MULTIBOOT2, candidate);
    }
    let candidate = match (&multiboot, multiboot_load) {
        (_, Some(load)) => Some(([load.segment(sized)?].into(), load.entry.into())),
        (Some(multiboot), None) => candidates.in_elf(multiboot.metadata.offset, None)?,
        (None, None) => None,
    };
    candidates.add(MULTIBOOT, candidate);

    let mut builder = candidates.merge(sized.len());
    if let Some(multiboot2) = multiboot2 {
        for warning in multiboot2.warnings {
            builder = builder.warning(warning);
        }
        builder = builder.metadata(multiboot2.metadata);
    }
    if let Some(multiboot) = multiboot {
        builder = builder.metadata(multiboot.metadata);
    }
    Ok(Some(builder.build()?))
}

/// A layout and its entry points.
struct Candidate {
    layout: Layout,
    entries: Vec<EntryPoint>,
    placement: Placement,
}

fn has_entry(candidate: &Candidate, abi: EntryAbi) -> bool {
    candidate.entries.iter().any(|entry| entry.abi == abi)
}

/// The layouts of a file, by each of its headers.
struct Candidates {
    /// Image by the ELF headers alone.
    elf: Option<KernelImage>,
    /// Candidates of the Multiboot headers, in order of preference.
    list: Vec<Candidate>,
}

impl Candidates {
    /// ELF layout and entry point of a Multiboot header, at file offset `header`, without load addresses. The entry point is
    /// that of the entry address tag (`tag`: value and file offset), else `e_entry`. `None` if the file is not an ELF file.
    fn in_elf(&self, header: u64, tag: Option<(u32, u64)>) -> Result<Option<(Layout, u64)>, MultibootError> {
        let Some(elf) = &self.elf else {
            return Ok(None);
        };
        let entry = if let Some((entry, entry_offset)) = tag {
            let entry = u64::from(entry);
            let mut segments = elf.segments().iter();
            if !segments.any(|segment| segment.range.contains_addr(entry)) {
                let extent = elf.extent();
                check(
                    field("entry_addr", entry_offset, 0),
                    entry,
                    ValidValues::Inside(extent.start(), extent.end()),
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

    /// Combines the candidates to one image. Its layout is that of the preferred candidate, or a larger one that covers it.
    /// It has the entry points of all candidates whose layouts cover it or are covered by it.
    fn merge(self, source_len: u64) -> ImageBuilder {
        let Self { elf, mut list } = self;
        let mut builder = ImageBuilder::new(NAME, Arch::X86_64, Endian::Little, source_len);
        if let Some(elf) = &elf {
            let evidence = match (elf.metadata::<Evidence>(), list.first()) {
                (Some(evidence), _) => Some(*evidence),
                (None, Some(first)) if has_entry(first, MULTIBOOT2) => {
                    Some(Evidence::Other(OtherMark::Multiboot2))
                }
                (None, Some(_)) => Some(Evidence::Other(OtherMark::Multiboot)),
                (None, None) => None,
            };
            if let Some(evidence) = evidence {
                builder = builder.metadata(evidence);
            }
            for warning in elf.warnings() {
                if let Some(warning) = warning.downcast_ref::<fmt_elf::Warning>() {
                    builder = builder.warning(*warning);
                }
                if let Some(near_miss) = warning.downcast_ref::<fmt_elf::NearMiss>() {
                    builder = builder.warning(*near_miss);
                }
            }
            let is_preferred = elf.entry(EntryAbi::PVH).is_some();
            let position = if is_preferred { 0 } else { list.len() };
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
