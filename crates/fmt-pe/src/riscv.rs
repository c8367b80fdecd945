//! The riscv `Image` (Linux riscv boot-image-header.rst).

use alloc::vec::Vec;
use core::mem::offset_of;

use boot_core::{
    Arch, ByteSource, Constraints, Endian, EntryAbi, ImageBuilder, KernelImage, Placement, SizedSource,
};
use boot_linux::riscv::ImageMetadata;
use zerocopy::{FromZeros, IntoBytes};

use crate::error::{LinuxImageError, Malformed, Unsupported};
use crate::linux_image::{compute_layout, pe_machine};
use crate::pe::Machine;
use crate::raw::{self, RiscvHeader, riscv_flags};
use crate::warning::Warning;

/// Name of the format.
pub(crate) const NAME: &str = "riscv-image";

/// Validated riscv64 `Image`: the contents of its header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RiscvImage {
    header: RiscvHeader,
    has_pe_header: bool,
    warnings: Vec<Warning>,
    image: KernelImage,
}

impl RiscvImage {
    /// Parses and validates a riscv64 `Image`. `Ok(None)` if the source has neither "RSC\x05" at 0x38 nor "RISCV" at 0x30,
    /// the only magic number of header version 0.1.
    ///
    /// # Errors
    ///
    /// [`LinuxImageError`] if the source has a magic number but is malformed or unsupported, or if it cannot be read.
    pub fn parse(source: &dyn ByteSource) -> Result<Option<Self>, LinuxImageError> {
        let source = SizedSource::new(source)?;
        let mut header = RiscvHeader::new_zeroed();
        let read = source.read_prefix_at(0, header.as_mut_bytes())?;
        // The zeros in the magic number must be in the file.
        let has_magic = header.magic == raw::RISCV_MAGIC && read >= offset_of!(RiscvHeader, magic2);
        if header.magic2 != raw::RISCV_MAGIC2 && !has_magic {
            return Ok(None);
        }
        if read < raw::HEADER_LEN {
            return Err(Malformed::HeaderTruncated { len: source.len() }.into());
        }
        Self::with_header(source, header).map(Some)
    }

    fn with_header(source: SizedSource<'_>, header: RiscvHeader) -> Result<Self, LinuxImageError> {
        let mut warnings = Vec::new();
        let len = source.len();
        check_version(&header, &mut warnings)?;
        let text_offset = header.text_offset.get();
        if text_offset % raw::BASE_ALIGN != 0 {
            return Err(Malformed::TextOffset {
                found: text_offset,
                align: raw::BASE_ALIGN,
            }
            .into());
        }
        let need = header.image_size.get();
        if need == 0 {
            return Err(Malformed::ZeroImageSize.into());
        }
        let unknown = header.flags.get() & !riscv_flags::KNOWN;
        if unknown != 0 {
            warnings.push(Warning::UnknownFlags(unknown));
        }
        let layout = compute_layout(text_offset, need, len, u64::MAX, &mut warnings)?;
        let machine = pe_machine(source, &mut warnings)?;
        match machine {
            Some(Machine::RISCV32) => return Err(Unsupported::Riscv32.into()),
            None | Some(Machine::RISCV64) => {}
            Some(found) => {
                let expected = Machine::RISCV64;
                warnings.push(Warning::PeMachine { found, expected });
            }
        }

        let endian = match header.flags.get() & riscv_flags::BIG_ENDIAN {
            0 => Endian::Little,
            _ => Endian::Big,
        };
        let mut builder = ImageBuilder::new(NAME, Arch::Riscv64, endian, len)
            .segment(layout.source, layout.segment)
            .extent(layout.extent)
            .placement(Placement::Relocatable(Constraints::aligned(raw::BASE_ALIGN)))
            .entry(EntryAbi::RISCV_IMAGE, text_offset)
            .metadata(ImageMetadata::new(version(&header)))
            .efi_stub(machine == Some(Machine::RISCV64));
        for warning in &warnings {
            builder = builder.warning(*warning);
        }
        Ok(Self {
            header,
            has_pe_header: machine.is_some(),
            warnings,
            image: builder.build().map_err(Malformed::Image)?,
        })
    }

    /// Header as in the file.
    #[must_use]
    pub fn header(&self) -> &RiscvHeader {
        &self.header
    }

    /// Version of the header: major and minor.
    #[must_use]
    pub fn version(&self) -> (u16, u16) {
        version(&self.header)
    }

    /// Preferred distance of the image from the start of RAM in bytes, which leaves room for firmware: a multiple of 2 MiB.
    #[must_use]
    pub fn text_offset(&self) -> u64 {
        self.header.text_offset.get()
    }

    /// Memory that the kernel needs from the start of the image, in bytes; not zero.
    #[must_use]
    pub fn image_size(&self) -> u64 {
        self.header.image_size.get()
    }

    /// True if the file has a valid PE header, of any machine type. [`KernelImage::has_efi_stub`] is true only for the
    /// machine type of riscv64.
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

fn version(header: &RiscvHeader) -> (u16, u16) {
    let [a, b, c, d] = header.version.to_bytes();
    (u16::from_le_bytes([c, d]), u16::from_le_bytes([a, b]))
}

/// Checks the version. Headers of one major version are compatible. `magic2` exists since 0.2, which deprecates `magic`.
fn check_version(header: &RiscvHeader, warnings: &mut Vec<Warning>) -> Result<(), LinuxImageError> {
    let (major, minor) = version(header);
    if major != 0 {
        return Err(Unsupported::RiscvVersion { major, minor }.into());
    }
    if minor >= raw::RISCV_MAGIC2_SINCE && header.magic2 != raw::RISCV_MAGIC2 {
        let found = header.magic2;
        return Err(Malformed::RiscvMagic2 { found, minor }.into());
    }
    if minor > raw::RISCV_MINOR {
        warnings.push(Warning::NewerRiscvHeader { minor });
    }
    Ok(())
}
