//! The arm64 `Image`.

use alloc::vec::Vec;

use boot_core::{
    Arch, ByteSource, Constraints, Endian, EntryAbi, ImageBuilder, KernelImage, Placement, SizedSource,
};
use boot_linux::arm64::ImageMetadata;
use zerocopy::{FromZeros, IntoBytes};

use crate::error::{KernelError, Malformed};
use crate::pe::Machine;
use crate::plugin::Arm64ImageFormat;
use crate::raw::{self, Arm64Header, arm64_flags};
use crate::stub;
use crate::warning::Warning;

/// What a kernel from before 3.17, which does not say, is given beyond the length of its file: room for the BSS and the
/// initial page tables, of which such kernels have about 1 MiB.
const ESTIMATE_SLACK: u64 = 16 << 20;

/// Instructions of arm64 are four bytes long and aligned, so an image is, too.
const INSTRUCTION: u64 = 4;

/// A validated arm64 `Image`: everything its header says, by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arm64Image {
    header: Arm64Header,
    text_offset: u64,
    is_pe: bool,
    warnings: Vec<Warning>,
    image: KernelImage,
}

impl Arm64Image {
    /// Reads and validates an arm64 `Image`. `Ok(None)` means that the source is something else: it has no "ARM\x64" at
    /// 0x38.
    ///
    /// # Errors
    ///
    /// [`KernelError`] where the source has the magic number, but is malformed or cannot be read.
    pub fn read(source: &dyn ByteSource) -> Result<Option<Self>, KernelError> {
        let source = SizedSource::new(source)?;
        let mut header = Arm64Header::new_zeroed();
        let read = source.read_prefix_at(0, header.as_mut_bytes())?;
        if header.magic != raw::ARM64_MAGIC {
            return Ok(None);
        }
        if read < raw::HEADER_LEN {
            return Err(Malformed::HeaderCut { len: source.len() }.into());
        }
        Self::with_header(source, header).map(Some)
    }

    fn with_header(source: SizedSource<'_>, header: Arm64Header) -> Result<Self, KernelError> {
        let mut warnings = Vec::new();
        let len = source.len();
        let (text_offset, need) = match header.image_size.get() {
            0 => {
                let estimate = len.saturating_add(ESTIMATE_SLACK);
                warnings.push(Warning::NoImageSize { estimate });
                (raw::ARM64_OLD_TEXT_OFFSET, estimate)
            }
            image_size => (header.text_offset.get(), image_size),
        };
        if !text_offset.is_multiple_of(INSTRUCTION) {
            return Err(Malformed::TextOffset {
                found: text_offset,
                align: INSTRUCTION,
            }
            .into());
        }
        if text_offset >= raw::BASE_ALIGN {
            warnings.push(Warning::LargeTextOffset { found: text_offset });
        }
        let unknown = header.flags.get() & !arm64_flags::KNOWN;
        if unknown != 0 {
            warnings.push(Warning::UnknownFlags(unknown));
        }
        let layout = stub::layout(text_offset, need, len, raw::ARM64_MAX, &mut warnings)?;
        let machine = stub::machine(source, &mut warnings)?;
        if let Some(found) = machine.filter(|machine| *machine != Machine::ARM64) {
            let expected = Machine::ARM64;
            warnings.push(Warning::PeMachine { found, expected });
        }

        let mut builder = ImageBuilder::new(Arm64ImageFormat::NAME, Arch::Aarch64, endian(&header), len)
            .segment(layout.source, layout.segment)
            .extent(layout.extent)
            .placement(Placement::Relocatable(rule(text_offset)))
            .entry(EntryAbi::ARM64_IMAGE, text_offset)
            .metadata(metadata(&header))
            .efi_stub(machine == Some(Machine::ARM64));
        for warning in &warnings {
            builder = builder.warning(*warning);
        }
        Ok(Self {
            header,
            text_offset,
            is_pe: machine.is_some(),
            warnings,
            image: builder.build().map_err(Malformed::Image)?,
        })
    }

    /// The header as it is in the file.
    #[must_use]
    pub fn header(&self) -> &Arm64Header {
        &self.header
    }

    /// How far from a 2 MiB boundary the image goes, in bytes. Where `image_size` is zero, this is 0x80000 whatever the
    /// header says.
    #[must_use]
    pub fn text_offset(&self) -> u64 {
        self.text_offset
    }

    /// How much memory the image needs from its start on, in bytes. `None` where the header does not say; the image's
    /// extent is an estimate then.
    #[must_use]
    pub fn image_size(&self) -> Option<u64> {
        Some(self.header.image_size.get()).filter(|size| *size != 0)
    }

    /// The byte order of code and data, by the flags, or, before 3.17, by the byte order of `text_offset`.
    #[must_use]
    pub fn endian(&self) -> Endian {
        self.image.endian()
    }

    /// The page size that the kernel was built for, in bytes. `None` where the header does not say.
    #[must_use]
    pub fn page_size(&self) -> Option<u32> {
        metadata(&self.header).page_size
    }

    /// Whether the kernel may be placed anywhere in RAM, and not only near its start.
    #[must_use]
    pub fn is_placed_anywhere(&self) -> bool {
        metadata(&self.header).is_placed_anywhere
    }

    /// Whether the file is also a PE program that UEFI firmware can start (the EFI stub).
    #[must_use]
    pub fn is_pe(&self) -> bool {
        self.is_pe
    }

    /// What is strange about the image without being wrong. The image's warnings are these in words.
    #[must_use]
    pub fn warnings(&self) -> &[Warning] {
        &self.warnings
    }

    /// The format-neutral image.
    #[must_use]
    pub fn image(&self) -> &KernelImage {
        &self.image
    }

    /// The format-neutral image.
    #[must_use]
    pub fn into_image(self) -> KernelImage {
        self.image
    }
}

/// "In these cases image_size is zero and text_offset is 0x80000 in the endianness of the kernel": the flag for the byte
/// order came with `image_size`.
fn endian(header: &Arm64Header) -> Endian {
    let is_old = header.image_size.get() == 0;
    let is_swapped = header.text_offset.get().swap_bytes() == raw::ARM64_OLD_TEXT_OFFSET;
    if header.flags.get() & arm64_flags::BIG_ENDIAN != 0 || (is_old && is_swapped) {
        Endian::Big
    } else {
        Endian::Little
    }
}

fn metadata(header: &Arm64Header) -> ImageMetadata {
    let flags = header.flags.get();
    let page_size = match (flags >> arm64_flags::PAGE_SIZE_SHIFT) & arm64_flags::PAGE_SIZE_MASK {
        1 => Some(4 << 10),
        2 => Some(16 << 10),
        3 => Some(64 << 10),
        _ => None,
    };
    ImageMetadata::new(page_size, flags & arm64_flags::PLACED_ANYWHERE != 0)
}

/// "The Image must be placed text_offset bytes from a 2MB aligned base address anywhere in usable system RAM".
///
/// The base itself may lie below RAM, as nothing there has "special significance to the kernel", but not below zero. A
/// planner takes the lowest place there is, so a kernel that wants to be near the start of RAM is.
fn rule(text_offset: u64) -> Constraints {
    Constraints::aligned(raw::BASE_ALIGN)
        .with_align_offset(text_offset.checked_rem(raw::BASE_ALIGN).unwrap_or(0))
        .between(text_offset, raw::ARM64_MAX)
}
