//! The arm64 `Image` (Linux arm64 booting.rst).

use alloc::vec::Vec;

use boot_core::{
    Arch, ByteSource, Constraints, Endian, EntryAbi, ImageBuilder, KernelImage, Placement, SizedSource,
};
use boot_linux::arm64::ImageMetadata;
use zerocopy::{FromZeros, IntoBytes};

use crate::error::{LinuxImageError, Malformed};
use crate::linux_image::{compute_layout, pe_machine};
use crate::pe::Machine;
use crate::raw::{self, Arm64Header, arm64_flags};
use crate::warning::Warning;

/// Name of the format.
pub(crate) const NAME: &str = "arm64-image";

/// Estimate of the memory that a kernel without `image_size` (before 3.17) needs beyond the length of its file. The BSS and
/// the initial page tables of such kernels take about 1 MiB.
const ESTIMATE_SLACK: u64 = 16 << 20;

/// Alignment of an image: that of its first instruction.
const INSTRUCTION_ALIGN: u64 = 4;

/// Validated arm64 `Image`: the contents of its header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arm64Image {
    header: Arm64Header,
    text_offset: u64,
    has_pe_header: bool,
    warnings: Vec<Warning>,
    image: KernelImage,
}

impl Arm64Image {
    /// Parses and validates an arm64 `Image`. `Ok(None)` if the source does not have "ARM\x64" at 0x38.
    ///
    /// # Errors
    ///
    /// [`LinuxImageError`] if the source has the magic number but is malformed, or if it cannot be read.
    pub fn parse(source: &dyn ByteSource) -> Result<Option<Self>, LinuxImageError> {
        let source = SizedSource::new(source)?;
        let mut header = Arm64Header::new_zeroed();
        let read = source.read_prefix_at(0, header.as_mut_bytes())?;
        if header.magic != raw::ARM64_MAGIC {
            return Ok(None);
        }
        if read < raw::HEADER_LEN {
            return Err(Malformed::HeaderTruncated { len: source.len() }.into());
        }
        Self::with_header(source, header).map(Some)
    }

    fn with_header(source: SizedSource<'_>, header: Arm64Header) -> Result<Self, LinuxImageError> {
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
        if text_offset % INSTRUCTION_ALIGN != 0 {
            return Err(Malformed::TextOffset {
                found: text_offset,
                align: INSTRUCTION_ALIGN,
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
        let layout = compute_layout(text_offset, need, len, raw::ARM64_MAX, &mut warnings)?;
        let machine = pe_machine(source, &mut warnings)?;
        if let Some(found) = machine.filter(|machine| *machine != Machine::ARM64) {
            let expected = Machine::ARM64;
            warnings.push(Warning::PeMachine { found, expected });
        }

        let mut builder = ImageBuilder::new(NAME, Arch::Aarch64, endian(&header), len)
            .segment(layout.source, layout.segment)
            .extent(layout.extent)
            .placement(Placement::Relocatable(constraints(text_offset)))
            .entry(EntryAbi::ARM64_IMAGE, text_offset)
            .metadata(metadata(&header))
            .efi_stub(machine == Some(Machine::ARM64));
        for warning in &warnings {
            builder = builder.warning(*warning);
        }
        Ok(Self {
            header,
            text_offset,
            has_pe_header: machine.is_some(),
            warnings,
            image: builder.build().map_err(Malformed::Image)?,
        })
    }

    /// Header as in the file.
    #[must_use]
    pub fn header(&self) -> &Arm64Header {
        &self.header
    }

    /// Distance of the image from its base, a 2 MiB boundary in RAM, in bytes: `text_offset`, or 0x80000 if `image_size` is
    /// zero.
    #[must_use]
    pub fn text_offset(&self) -> u64 {
        self.text_offset
    }

    /// Memory that the kernel needs from the start of the image, in bytes. `None` if `image_size` is zero; then the extent
    /// of the image is an estimate.
    #[must_use]
    pub fn image_size(&self) -> Option<u64> {
        Some(self.header.image_size.get()).filter(|size| *size != 0)
    }

    /// Byte order of the kernel: by `flags`, or by the byte order of `text_offset` if `image_size` is zero (before 3.17).
    #[must_use]
    pub fn endian(&self) -> Endian {
        self.image.endian()
    }

    /// Page size of the kernel in bytes; `None` if it is not specified.
    #[must_use]
    pub fn page_size(&self) -> Option<u32> {
        metadata(&self.header).page_size
    }

    /// True if the kernel may be placed anywhere in RAM, not only near the start of RAM.
    #[must_use]
    pub fn is_placed_anywhere(&self) -> bool {
        metadata(&self.header).is_placed_anywhere
    }

    /// True if the file has a valid PE header, of any machine type. [`KernelImage::has_efi_stub`] is true only for the
    /// machine type of arm64.
    #[must_use]
    pub fn has_pe_header(&self) -> bool {
        self.has_pe_header
    }

    /// Warnings of the parser; [`KernelImage::warnings`] has the same.
    #[must_use]
    pub fn warnings(&self) -> &[Warning] {
        &self.warnings
    }

    /// Format-neutral image.
    #[must_use]
    pub fn image(&self) -> &KernelImage {
        &self.image
    }

    /// Converts to the format-neutral image.
    #[must_use]
    pub fn into_image(self) -> KernelImage {
        self.image
    }
}

/// Byte order of the kernel. Kernels without `image_size` do not have the flag; their `text_offset` is 0x80000 in the byte
/// order of the kernel.
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

/// Constraints on the start of the image: "text_offset bytes from a 2MB aligned base address anywhere in usable system RAM"
/// (booting.rst, "Call the kernel image"). A `text_offset` may be larger than 2 MiB; the memory between base and image has no
/// meaning for the kernel.
///
/// A planner takes the lowest address, so the base of a kernel without bit 3 of `flags` is as near to the start of RAM as
/// possible.
fn constraints(text_offset: u64) -> Constraints {
    Constraints::aligned(raw::BASE_ALIGN)
        .with_align_offset(text_offset.checked_rem(raw::BASE_ALIGN).unwrap_or(0))
        .with_base_offset(text_offset)
        .between(text_offset, raw::ARM64_MAX)
}
