//! The riscv `Image`.

use alloc::vec::Vec;
use core::mem::offset_of;

use boot_core::{
    Arch, ByteSource, Constraints, Endian, EntryAbi, ImageBuilder, KernelImage, Placement, SizedSource,
};
use boot_linux::riscv::ImageMetadata;
use zerocopy::{FromZeros, IntoBytes};

use crate::error::{KernelError, Malformed, Unsupported};
use crate::pe::Machine;
use crate::plugin::RiscvImageFormat;
use crate::raw::{self, RiscvHeader, riscv_flags};
use crate::stub;
use crate::warning::Warning;

/// A validated riscv64 `Image`: everything its header says, by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RiscvImage {
    header: RiscvHeader,
    is_pe: bool,
    warnings: Vec<Warning>,
    image: KernelImage,
}

impl RiscvImage {
    /// Reads and validates a riscv64 `Image`. `Ok(None)` means that the source is something else: it has neither
    /// "RSC\x05" at 0x38 nor, as the first version of the header, only "RISCV" at 0x30.
    ///
    /// # Errors
    ///
    /// [`KernelError`] where the source has the magic number, but is malformed, not supported or cannot be read.
    pub fn read(source: &dyn ByteSource) -> Result<Option<Self>, KernelError> {
        let source = SizedSource::new(source)?;
        let mut header = RiscvHeader::new_zeroed();
        let read = source.read_prefix_at(0, header.as_mut_bytes())?;
        // Its zeros must be in the file, too.
        let has_magic = header.magic == raw::RISCV_MAGIC && read >= offset_of!(RiscvHeader, magic2);
        if header.magic2 != raw::RISCV_MAGIC2 && !has_magic {
            return Ok(None);
        }
        if read < raw::HEADER_LEN {
            return Err(Malformed::HeaderCut { len: source.len() }.into());
        }
        Self::with_header(source, header).map(Some)
    }

    fn with_header(source: SizedSource<'_>, header: RiscvHeader) -> Result<Self, KernelError> {
        let mut warnings = Vec::new();
        let len = source.len();
        check_version(&header, &mut warnings)?;
        let text_offset = header.text_offset.get();
        if !text_offset.is_multiple_of(raw::BASE_ALIGN) {
            return Err(Malformed::TextOffset {
                found: text_offset,
                align: raw::BASE_ALIGN,
            }
            .into());
        }
        let need = header.image_size.get();
        if need == 0 {
            return Err(Malformed::NoImageSize.into());
        }
        let unknown = header.flags.get() & !riscv_flags::KNOWN;
        if unknown != 0 {
            warnings.push(Warning::UnknownFlags(unknown));
        }
        let layout = stub::layout(text_offset, need, len, u64::MAX, &mut warnings)?;
        let machine = stub::machine(source, &mut warnings)?;
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
        let mut builder = ImageBuilder::new(RiscvImageFormat::NAME, Arch::Riscv64, endian, len)
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
            is_pe: machine.is_some(),
            warnings,
            image: builder.build().map_err(Malformed::Image)?,
        })
    }

    /// The header as it is in the file.
    #[must_use]
    pub fn header(&self) -> &RiscvHeader {
        &self.header
    }

    /// The version of the header: major and minor.
    #[must_use]
    pub fn version(&self) -> (u16, u16) {
        version(&self.header)
    }

    /// How far from the start of RAM the image wants to be, in bytes, which leaves room for firmware: a multiple of 2 MiB.
    #[must_use]
    pub fn text_offset(&self) -> u64 {
        self.header.text_offset.get()
    }

    /// How much memory the image needs from its start on, in bytes; not zero.
    #[must_use]
    pub fn image_size(&self) -> u64 {
        self.header.image_size.get()
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

fn version(header: &RiscvHeader) -> (u16, u16) {
    let [a, b, c, d] = header.version.to_bytes();
    (u16::from_le_bytes([c, d]), u16::from_le_bytes([a, b]))
}

/// Headers of one major version are compatible. `magic2` came with 0.2, and the older `magic` may be removed some day.
fn check_version(header: &RiscvHeader, warnings: &mut Vec<Warning>) -> Result<(), KernelError> {
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
