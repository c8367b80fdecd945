//! Conversion of an ELF file to a kernel image.

use boot_core::{
    Arch, ByteSource, Constraints, Endian, EntryAbi, ImageBuilder, ImageError, KernelImage, Placement,
    SizedSource, arith,
};

use crate::encoding::Class;
use crate::error::{ElfError, Unsupported, ValidValues};
use crate::evidence::{Findings, Marks};
use crate::file::ElfFile;
use crate::header::{Decode, FileHeader, field};
use crate::note_error::NoteError;
use crate::note_scan::NoteScan;
use crate::pvh::PvhNotes;
use crate::raw;
use crate::segments::LoadSegments;
use crate::warning::{Warning, Warnings};

/// Name of the format.
pub(crate) const NAME: &str = "elf";

/// Lowest alignment of a position-independent image: the size of a large page on every supported architecture, because
/// kernels map themselves with large pages.
const MIN_ALIGN: u64 = 0x20_0000;

/// Lowest start of a position-independent image. It excludes address 0, the null pointer, and the BIOS memory of a PC.
const MIN_START: u64 = 0x10_0000;

/// Addresses from here on are a kernel's virtual addresses: physical addresses have at most 52 bits on arm64 and 56 on
/// riscv64. The Linux linker scripts of both do not set physical addresses, so `p_paddr` equals `p_vaddr` there.
const UPPER_HALF: u64 = 1 << 63;

/// End of the addresses that 32-bit code can reach.
const FOUR_GIB: u64 = 1 << 32;

/// Parses an ELF kernel image. `Ok(None)` if the source is not an ELF file.
///
/// Only headers and notes are read. The crate page lists what is accepted and how addresses are determined.
///
/// # Errors
///
/// [`ElfError`] if the source is an ELF file but is malformed or unsupported, or if it cannot be read.
pub fn parse(source: &dyn ByteSource) -> Result<Option<KernelImage>, ElfError> {
    match ElfFile::parse(SizedSource::new(source)?)? {
        Some(file) => build(&file).map(Some),
        None => Ok(None),
    }
}

fn build(file: &ElfFile<'_>) -> Result<KernelImage, ElfError> {
    let mut warnings = Warnings::default();
    let position_independent = check_type(file)?;
    let (arch, abi) = arch_and_abi(file)?;
    check_header(file, &mut warnings);
    let Contents {
        mut loaded,
        mut notes,
        marks,
    } = read_segments(file, arch, &mut warnings)?;
    loaded.sort_and_check(file)?;
    let segments = loaded.segments();
    let start = segments.first().map_or(0, |(_, segment)| segment.range.start());
    if let Some(error) = notes
        .pvh
        .remove_entry_outside(segments.iter().map(|(_, segment)| segment.range))
    {
        notes.error = notes.error.or(Some(error));
        warnings.add(Warning::Note { error, more: 0 });
    }
    let pvh = notes.pvh;
    let entry = entry(file, &loaded, pvh, &mut warnings)?;
    let evidence = Findings {
        arch,
        marks: &marks,
        notes: &notes,
        segments,
        entry,
        entry_distance: loaded.entry_distance(),
    }
    .evidence(file, &mut warnings)?;
    if entry.is_none() && pvh.entry().is_none() && !notes.has_guest() {
        let field = field!(file.encoding().class, Ehdr32 | Ehdr64 @ 0, e_entry);
        return Err(notes.error.map_or(ElfError::NoEntry { field }, ElfError::Note));
    }
    if start >= UPPER_HALF {
        warnings.add(match arch {
            Arch::X86_64 => Warning::VirtualLoadAddress { start },
            _ => Warning::VirtualLinkAddress { start },
        });
    }

    let encoding = file.encoding();
    let mut builder = ImageBuilder::new(NAME, arch, encoding.endian, file.source().len());
    for (_, segment) in segments {
        builder = builder.segment(segment.source, segment.range);
    }
    #[cfg(feature = "near-miss")]
    if arch == Arch::X86_64 && pvh.entry().is_none() {
        builder = crate::near_miss::warn(file, builder)?;
    }
    if let Some(addr) = entry {
        builder = builder.entry(abi, addr);
    }
    if let Some(addr) = pvh.entry() {
        builder = builder.entry(EntryAbi::PVH, addr);
    }
    if let Some(evidence) = evidence {
        builder = builder.metadata(evidence);
    }
    #[cfg(feature = "sandbox")]
    if let Some(note) = notes.guest {
        let guest = crate::guest::image(file, arch, note)?;
        builder = builder
            .entry(boot_sandbox::SANDBOX, guest.entry())
            .metadata(guest);
    }
    let unrelocated = if position_independent {
        let below_4g = encoding.class == Class::Elf32 || pvh.entry().is_some();
        position_independent_placement(start, loaded.align(), below_4g)
    } else {
        Placement::Fixed
    };
    let reloc = pvh.reloc().filter(|_| pvh.entry().is_some());
    let placement = reloc.map_or(unrelocated, |reloc| reloc.placement(start, loaded.align()));
    let with_warnings = |mut builder: ImageBuilder, warnings: &Warnings| {
        for warning in warnings.list() {
            builder = builder.warning(*warning);
        }
        builder.build()
    };
    match with_warnings(builder.clone().placement(placement), &warnings) {
        // The constraints are optional: without them, the kernel can run at its link address.
        Err(ImageError::NoRoom { min, max, .. }) if reloc.is_some() => {
            let error = NoteError::PvhRelocTooNarrow { min, max };
            warnings.add(Warning::Note { error, more: 0 });
            Ok(with_warnings(builder.placement(unrelocated), &warnings)?)
        }
        image => Ok(image?),
    }
}

/// Checks the fields of the ELF header that nothing depends on.
fn check_header(file: &ElfFile<'_>, warnings: &mut Warnings) {
    let (class, header) = (file.encoding().class, file.header());
    warnings.check(
        ValidValues::Exactly(raw::EV_CURRENT.into()),
        field!(class, Ehdr32 | Ehdr64 @ 0, e_version),
        header.e_version,
    );
    warnings.check(
        ValidValues::Exactly(arith::to_u64(FileHeader::raw_size(class))),
        field!(class, Ehdr32 | Ehdr64 @ 0, e_ehsize),
        header.e_ehsize,
    );
}

/// Physical address of the ELF entry point. A PVH kernel does not need one.
fn entry(
    file: &ElfFile<'_>,
    loaded: &LoadSegments,
    pvh: PvhNotes,
    warnings: &mut Warnings,
) -> Result<Option<u64>, ElfError> {
    match loaded.entry(file) {
        Err(
            ElfError::EntryOutsideSegments { field, entry } | ElfError::AmbiguousEntry { field, entry, .. },
        ) if pvh.entry().is_some() => {
            warnings.add(Warning::EntryIgnored { field, entry });
            Ok(None)
        }
        entry => entry,
    }
}

/// Checks the type of the file. True if the image is position-independent.
fn check_type(file: &ElfFile<'_>) -> Result<bool, ElfError> {
    let field = field!(file.encoding().class, Ehdr32 | Ehdr64 @ 0, e_type);
    match file.header().e_type {
        raw::ET_EXEC => Ok(false),
        raw::ET_DYN => Ok(true),
        raw::ET_REL => Err(Unsupported::RelocatableFile { field }.into()),
        raw::ET_CORE => Err(Unsupported::CoreFile { field }.into()),
        found => Err(ElfError::InvalidField {
            field,
            value: found.into(),
            expected: ValidValues::Either(raw::ET_EXEC.into(), raw::ET_DYN.into()),
        }),
    }
}

/// Architecture, and ABI of the ELF entry point.
fn arch_and_abi(file: &ElfFile<'_>) -> Result<(Arch, EntryAbi), ElfError> {
    let encoding = file.encoding();
    let machine = file.header().e_machine;
    let field = field!(encoding.class, Ehdr32 | Ehdr64 @ 0, e_machine);
    match (machine, encoding.class, encoding.endian) {
        (raw::EM_X86_64, Class::Elf64, Endian::Little) => Ok((Arch::X86_64, EntryAbi::ELF64)),
        (raw::EM_386, Class::Elf32, Endian::Little) => Ok((Arch::X86_64, EntryAbi::ELF32)),
        (raw::EM_AARCH64, Class::Elf64, _) => Ok((Arch::Aarch64, EntryAbi::ELF64)),
        (raw::EM_RISCV, Class::Elf64, Endian::Little) => Ok((Arch::Riscv64, EntryAbi::ELF64)),
        (raw::EM_X86_64 | raw::EM_386 | raw::EM_AARCH64 | raw::EM_RISCV, class, endian) => {
            Err(Unsupported::MachineEncoding {
                field,
                machine,
                class,
                endian,
            }
            .into())
        }
        _ => Err(Unsupported::Machine { field, machine }.into()),
    }
}

/// What the program headers refer to.
#[derive(Default)]
struct Contents {
    loaded: LoadSegments,
    notes: NoteScan,
    marks: Marks,
}

/// Reads the program headers once.
fn read_segments(file: &ElfFile<'_>, arch: Arch, warnings: &mut Warnings) -> Result<Contents, ElfError> {
    let mut contents = Contents::default();
    for header in file.program_headers() {
        let header = header?;
        contents.marks.add(file, &header)?;
        match header.p_type {
            raw::PT_LOAD => contents.loaded.add(file, &header, warnings)?,
            raw::PT_NOTE => contents.notes.read_segment(file, &header, arch, warnings)?,
            _ => {}
        }
    }
    Ok(contents)
}

/// Placement of an `ET_DYN` image: it may be relocated by any multiple of its alignment.
fn position_independent_placement(start: u64, p_align: u64, below_4g: bool) -> Placement {
    let align = p_align.max(MIN_ALIGN);
    let max = if below_4g { FOUR_GIB } else { u64::MAX };
    Placement::Relocatable(
        Constraints::aligned(align)
            .with_align_offset(start & align.saturating_sub(1))
            .between(MIN_START, max)
            .prefer(start),
    )
}
