//! `--kaslr`: addresses of the kernel that a seed chooses.

use std::num::ParseIntError;

use boot_core::{
    Arch, BootProtocol, BootRequest, KernelImage, RawCmdline, ReadError, RequestPart, SizedSource,
};
use boot_kaslr::{RelativeError, RelocationsError, VirtualOffset, relocate, relocate_relative};

use super::kernel::Kernel;
use super::seeds;
use super::words;

/// Value of `--kaslr`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kaslr {
    /// The addresses without randomization.
    Off,
    /// Addresses that a random number chooses.
    Random,
    /// Addresses that this number chooses.
    Seed(u64),
}

/// A value of `--kaslr` that is none.
#[derive(Debug, thiserror::Error)]
#[error("not a seed; use off, random, or a number such as 0x1234")]
pub(crate) struct ParseError(#[source] ParseIntError);

/// Parses the value of `--kaslr`.
pub(crate) fn parse(text: &str) -> Result<Kaslr, ParseError> {
    let number = |text: &str| match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16),
        None => text.parse(),
    };
    match text {
        "off" => Ok(Kaslr::Off),
        "random" => Ok(Kaslr::Random),
        _ => number(text).map(Kaslr::Seed).map_err(ParseError),
    }
}

/// The kernel cannot be moved to the virtual address that its seed chooses.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RelocateError {
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error("the table of relocations behind the vmlinux is malformed")]
    Table(#[from] RelocationsError),
}

/// The kernel cannot be moved to the physical address of its plan.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MoveError {
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error(transparent)]
    Elf(#[from] fmt_elf::ElfError),
    #[error("the position-independent kernel cannot be moved from its link address")]
    Relative(#[from] RelativeError),
}

/// Applies the relative relocations of a position-independent ELF kernel that a plan puts at `start`.
pub(crate) fn move_to(start: u64, image: &KernelImage, kernel: &mut Kernel) -> Result<(), MoveError> {
    if image.format() != fmt_elf::ElfFormat::NAME || start == image.extent().start() {
        return Ok(());
    }
    // Other files are not read as a whole.
    let file = fmt_elf::ElfFile::parse(SizedSource::new(kernel)?)?;
    if file.is_some_and(|file| file.header().e_type == fmt_elf::raw::ET_DYN) {
        kernel.change(|bytes| relocate_relative(image, bytes, start))??;
    }
    Ok(())
}

/// The seeds of a kernel's addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seeds {
    /// Of the virtual address; `None` leaves it.
    virtual_address: Option<u64>,
    /// Of the physical address; `None` leaves it.
    physical_address: Option<u64>,
    /// Whether the kernel may choose addresses itself.
    is_off: bool,
}

impl Seeds {
    /// The seeds for `option`; `drawn` are random ones, which a plan without a run does not have.
    pub(crate) fn new(
        option: Option<Kaslr>,
        drawn: Option<&seeds::Seeds>,
        cmdline: &RawCmdline,
        kernel: &Kernel,
    ) -> Self {
        let random = drawn.map(|drawn| drawn.kaslr);
        let both = |seed| Self {
            virtual_address: seed,
            physical_address: seed,
            is_off: false,
        };
        match option {
            Some(Kaslr::Seed(seed)) => both(Some(seed)),
            Some(Kaslr::Random) => both(random),
            Some(Kaslr::Off) => Self {
                is_off: true,
                ..both(None)
            },
            // The decompressor of the bzImage would have chosen the addresses.
            None => Self {
                virtual_address: random
                    .filter(|_| kernel.wrappers.end_with_bzimage() && !words::has(cmdline, "nokaslr")),
                ..both(None)
            },
        }
    }

    /// Moves the virtual addresses of an x86_64 vmlinux with a table of relocations; other kernels stay as they are.
    pub(crate) fn relocate(
        self,
        image: KernelImage,
        kernel: &mut Kernel,
    ) -> Result<KernelImage, RelocateError> {
        let is_vmlinux = image.arch() == Arch::X86_64 && image.format() == fmt_elf::ElfFormat::NAME;
        let offset = self
            .virtual_address
            .filter(|_| is_vmlinux)
            .and_then(|seed| VirtualOffset::choose(&image, seed));
        let Some(offset) = offset else {
            return Ok(image);
        };
        if kernel.change(|bytes| relocate(&image, bytes, offset))?? {
            return Ok(image.with_metadata(offset.metadata()));
        }
        eprintln!(
            "warning: the vmlinux has no table of relocations, so its virtual addresses stay as they are"
        );
        Ok(image)
    }

    /// Adds to `request` what the protocol and the planner need.
    pub(crate) fn add_to<'a>(self, request: BootRequest<'a>, protocol: &dyn BootProtocol) -> BootRequest<'a> {
        let mut seeded = request;
        seeded.placement_seed = self.physical_address;
        if self.is_off {
            seeded.kaslr_seed = None;
        } else if self.virtual_address.is_some() && protocol.hands_over(RequestPart::KaslrSeed, request.image)
        {
            seeded.kaslr_seed = self.virtual_address;
        }
        seeded
    }
}
