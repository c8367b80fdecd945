//! Images of guests made from files that an independent writer wrote.

mod functions;
mod notes;
mod properties;

use std::error::Error;
use std::fmt::Write as _;

use boot_core::{Arch, Endian, GuestRange, ImageBuilder, KernelImage, Segment, SourceRange};
use boot_sandbox::{
    GuestImage, GuestNote, GuestNoteError, GuestSegment, LinkFeatures, SANDBOX, SegmentAccess,
};
use fmt_test::elf::{PF_W, PF_X};
use fmt_test::guest::{CODE_PHDR, CONSTANTS_PHDR, DATA_PHDR, Guest, RELRO_PHDR};

/// The text of an error and of its sources.
fn text(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        write!(text, ": {error}").unwrap();
        source = error.source();
    }
    text
}

/// A file, and its parts.
struct File {
    arch: Arch,
    descriptor: Vec<u8>,
    bytes: Vec<u8>,
    segments: Vec<GuestSegment>,
}

impl File {
    fn new(arch: Arch, guest: &Guest) -> Self {
        let elf = guest.elf();
        let (bytes, offsets) = elf.write();
        let segments = [CONSTANTS_PHDR, CODE_PHDR, RELRO_PHDR, DATA_PHDR].map(|index| {
            let phdr = &elf.phdrs[index];
            GuestSegment {
                index: u32::try_from(index).unwrap(),
                virt: phdr.vaddr,
                segment: Segment::new(
                    SourceRange::new(offsets[index], phdr.data.len() as u64).unwrap(),
                    GuestRange::new(phdr.paddr, phdr.memsz).unwrap(),
                ),
                access: SegmentAccess {
                    write: phdr.flags & PF_W != 0,
                    execute: phdr.flags & PF_X != 0,
                },
            }
        });
        Self {
            arch,
            descriptor: guest.descriptor(),
            bytes,
            segments: segments.to_vec(),
        }
    }

    /// Replaces bytes of the segment of constants.
    fn patch(&mut self, offset: usize, new: &[u8]) {
        let start = usize::try_from(self.segments[CONSTANTS_PHDR].segment.source.offset()).unwrap() + offset;
        self.bytes[start..start + new.len()].copy_from_slice(new);
    }

    fn guest(&self) -> Result<GuestImage, GuestNoteError> {
        let note = GuestNote::parse(self.arch, &self.descriptor)?;
        GuestImage::new(self.arch, note, self.segments.clone(), LinkFeatures::default())
    }

    fn image(&self) -> KernelImage {
        let guest = self.guest().unwrap();
        let builder = ImageBuilder::new("test", self.arch, Endian::Little, self.bytes.len() as u64);
        let builder = self.segments.iter().fold(builder, |builder, segment| {
            builder.segment(segment.segment.source, segment.segment.range)
        });
        builder
            .entry(SANDBOX, guest.entry())
            .metadata(guest)
            .build()
            .unwrap()
    }
}

/// The architectures and their `e_machine`.
fn guests() -> [(Arch, Guest); 3] {
    use fmt_test::elf::{EM_AARCH64, EM_RISCV, EM_X86_64};
    [
        (Arch::X86_64, EM_X86_64),
        (Arch::Aarch64, EM_AARCH64),
        (Arch::Riscv64, EM_RISCV),
    ]
    .map(|(arch, machine)| (arch, Guest::new(machine)))
}
