//! From an ELF file to a kernel image.

use boot_core::{
    Arch, ByteSource, Constraints, Endian, EntryAbi, ImageBuilder, KernelImage, Placement, SizedSource,
};

use crate::error::{Expected, Unsupported};
use crate::header::at;
use crate::loads::Loads;
use crate::plugin::NAME;
use crate::warning::Warning;
use crate::{Class, ElfError, ElfFile, PvhNotes, raw};

/// The least alignment of a position-independent image: that of a large page on every architecture here, which is what
/// kernels map themselves with.
const LEAST_ALIGN: u64 = 0x20_0000;

/// The lowest start of a position-independent image. Below lie address 0, which code takes for a null pointer, and the
/// memory of a PC's BIOS.
const LEAST_START: u64 = 0x10_0000;

/// From here on addresses are virtual ones of a kernel: physical addresses have 52 bits at most on arm64 and 56 on riscv64.
/// Linux's linker scripts for both give no physical addresses, so that `p_paddr` is `p_vaddr`; x86's does.
const UPPER_HALF: u64 = 1 << 63;

/// The address after the last that 32-bit code reaches.
const END_OF_32_BITS: u64 = 1 << 32;

/// Parses an ELF kernel image. `Ok(None)` means that the source is no ELF file.
///
/// Only headers and notes are read. See the crate's page for what is accepted and how addresses are chosen.
///
/// # Errors
///
/// [`ElfError`] where the file is an ELF file but is malformed, is no kernel, or cannot be read.
pub fn parse(source: &dyn ByteSource) -> Result<Option<KernelImage>, ElfError> {
    match ElfFile::open(SizedSource::new(source)?)? {
        Some(file) => build(&file).map(Some),
        None => Ok(None),
    }
}

fn build(file: &ElfFile<'_>) -> Result<KernelImage, ElfError> {
    let position_independent = check_type(file)?;
    let (arch, abi) = machine(file)?;
    let (mut loads, pvh) = scan(file, arch)?;
    let p_align = loads.align();
    loads.check(file)?;
    let segments = loads.segments();
    let entry = loads.entry(file)?;
    pvh.check(segments.iter().map(|(_, segment)| segment.range))?;
    let start = segments.first().map_or(0, |(_, segment)| segment.range.start());

    let encoding = file.encoding();
    if entry.is_none() && pvh.entry().is_none() {
        let at = at!(encoding.class, Ehdr32 | Ehdr64 @ 0, e_entry);
        return Err(ElfError::NoEntry { at });
    }
    let mut builder = ImageBuilder::new(NAME, arch, encoding.endian, file.source().len());
    for (_, segment) in segments {
        builder = builder.segment(segment.source, segment.range);
    }
    if let Some(addr) = entry {
        builder = builder.entry(abi, addr);
    }
    if let Some(addr) = pvh.entry() {
        builder = builder.entry(EntryAbi::PVH, addr);
    }
    let reloc = pvh.reloc().filter(|_| pvh.entry().is_some());
    builder = builder.placement(match reloc {
        Some(reloc) => reloc.placement(start, p_align),
        None if position_independent => {
            let below_4g = encoding.class == Class::Elf32 || pvh.entry().is_some();
            anywhere(start, p_align, below_4g)
        }
        None => Placement::Fixed,
    });
    if arch != Arch::X86_64 && start >= UPPER_HALF {
        builder = builder.warning(Warning::VirtualLinkAddress { start });
    }
    Ok(builder.build()?)
}

/// Whether the image is position-independent.
fn check_type(file: &ElfFile<'_>) -> Result<bool, ElfError> {
    let at = at!(file.encoding().class, Ehdr32 | Ehdr64 @ 0, e_type);
    match file.header().e_type {
        raw::ET_EXEC => Ok(false),
        raw::ET_DYN => Ok(true),
        raw::ET_REL => Err(Unsupported::Object { at }.into()),
        raw::ET_CORE => Err(Unsupported::Core { at }.into()),
        found => Err(ElfError::Value {
            at,
            found: found.into(),
            expected: Expected::Either(raw::ET_EXEC.into(), raw::ET_DYN.into()),
        }),
    }
}

/// The architecture, and what the entry point is called.
fn machine(file: &ElfFile<'_>) -> Result<(Arch, EntryAbi), ElfError> {
    let encoding = file.encoding();
    let machine = file.header().e_machine;
    let at = at!(encoding.class, Ehdr32 | Ehdr64 @ 0, e_machine);
    match (machine, encoding.class, encoding.endian) {
        (raw::EM_X86_64, Class::Elf64, Endian::Little) => Ok((Arch::X86_64, EntryAbi::ELF64)),
        (raw::EM_386, Class::Elf32, Endian::Little) => Ok((Arch::X86_64, EntryAbi::ELF32)),
        (raw::EM_AARCH64, Class::Elf64, _) => Ok((Arch::Aarch64, EntryAbi::ELF64)),
        (raw::EM_RISCV, Class::Elf64, Endian::Little) => Ok((Arch::Riscv64, EntryAbi::ELF64)),
        (raw::EM_X86_64 | raw::EM_386 | raw::EM_AARCH64 | raw::EM_RISCV, class, endian) => {
            Err(Unsupported::MachineEncoding {
                at,
                machine,
                class,
                endian,
            }
            .into())
        }
        _ => Err(Unsupported::Machine { at, machine }.into()),
    }
}

/// Goes through the program headers once.
fn scan(file: &ElfFile<'_>, arch: Arch) -> Result<(Loads, PvhNotes), ElfError> {
    let mut loads = Loads::default();
    let mut pvh = PvhNotes::default();
    for header in file.program_headers() {
        let header = header?;
        match header.p_type {
            raw::PT_LOAD => loads.add(file, &header)?,
            // PVH is an ABI of x86; what other architectures note does not concern a loader.
            raw::PT_NOTE if arch == Arch::X86_64 => pvh.read(file, &header)?,
            raw::PT_INTERP => {
                return Err(Unsupported::UserProgram {
                    index: header.index,
                    at: at!(header.class, Phdr32 | Phdr64 @ header.position, p_type),
                }
                .into());
            }
            _ => {}
        }
    }
    Ok((loads, pvh))
}

/// The rule for an `ET_DYN` image: it may move by any multiple of its alignment.
fn anywhere(start: u64, p_align: u64, below_4g: bool) -> Placement {
    let align = p_align.max(LEAST_ALIGN);
    let max = if below_4g { END_OF_32_BITS } else { u64::MAX };
    Placement::Relocatable(
        Constraints::aligned(align)
            .with_align_offset(start & align.saturating_sub(1))
            .between(LEAST_START, max)
            .prefer(start),
    )
}
