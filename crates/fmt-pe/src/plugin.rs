//! The formats of this crate as plugins of `boot-core`.

use boot_core::{ByteSource, FormatError, KernelFormat, KernelImage, Priority, SizedSource};

use crate::arm64::{self, Arm64Image};
use crate::error::{LinuxImageError, Unsupported};
use crate::pe::{self, PeError, PeFile};
use crate::riscv::{self, RiscvImage};
use crate::zboot::ZbootImage;

/// Priority of the formats whose images may also be PE files: before PE, after bzImage.
const BEFORE_PE: Priority = Priority::new(Priority::SPECIFIC.value() + 10);

/// All formats of this crate, for the list of formats of [`boot_core::detect`].
pub const FORMATS: [&dyn KernelFormat; 4] = [&ARM64_IMAGE, &RISCV_IMAGE, &ZBOOT, &PE];

/// The arm64 `Image` format.
pub const ARM64_IMAGE: Arm64ImageFormat = Arm64ImageFormat;

/// The riscv64 `Image` format.
pub const RISCV_IMAGE: RiscvImageFormat = RiscvImageFormat;

/// The EFI zboot format: recognised and refused as unsupported.
pub const ZBOOT: ZbootFormat = ZbootFormat;

/// The PE format, for files that no other format recognises: refused as unsupported, with the kind of file.
pub const PE: PeFormat = PeFormat;

/// Plugin of the arm64 `Image` format.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Arm64ImageFormat;

/// Plugin of the riscv64 `Image` format.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RiscvImageFormat;

/// Plugin of the EFI zboot format.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ZbootFormat;

/// Plugin of the PE format.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PeFormat;

impl Arm64ImageFormat {
    /// Name of the format: `arm64-image`.
    pub const NAME: &'static str = arm64::NAME;
}

impl RiscvImageFormat {
    /// Name of the format: `riscv-image`.
    pub const NAME: &'static str = riscv::NAME;
}

impl ZbootFormat {
    /// Name of the format: `efi-zboot`.
    pub const NAME: &'static str = "efi-zboot";
}

impl PeFormat {
    /// Name of the format: `pe`.
    pub const NAME: &'static str = "pe";
}

impl KernelFormat for Arm64ImageFormat {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn priority(&self) -> Priority {
        BEFORE_PE
    }

    fn parse(&self, source: &dyn ByteSource) -> Result<Option<KernelImage>, FormatError> {
        let image = Arm64Image::parse(source).map_err(|error| format_error(Self::NAME, error))?;
        Ok(image.map(Arm64Image::into_image))
    }
}

impl KernelFormat for RiscvImageFormat {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn priority(&self) -> Priority {
        BEFORE_PE
    }

    fn parse(&self, source: &dyn ByteSource) -> Result<Option<KernelImage>, FormatError> {
        let image = RiscvImage::parse(source).map_err(|error| format_error(Self::NAME, error))?;
        Ok(image.map(RiscvImage::into_image))
    }
}

impl KernelFormat for ZbootFormat {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn priority(&self) -> Priority {
        BEFORE_PE
    }

    fn parse(&self, source: &dyn ByteSource) -> Result<Option<KernelImage>, FormatError> {
        let error = match ZbootImage::parse(source) {
            Ok(None) => return Ok(None),
            Ok(Some(zboot)) => Unsupported::Zboot {
                machine: zboot.machine(),
                codec: zboot.payload().codec,
                payload: zboot.payload().source,
            }
            .into(),
            Err(error) => error,
        };
        Err(format_error(Self::NAME, error))
    }
}

impl KernelFormat for PeFormat {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn parse(&self, source: &dyn ByteSource) -> Result<Option<KernelImage>, FormatError> {
        let parse = || -> Result<Option<pe::Unsupported>, PeError> {
            Ok(PeFile::parse(SizedSource::new(source)?)?.map(|file| unsupported_kind(&file)))
        };
        let error = match parse() {
            Ok(None) => return Ok(None),
            Ok(Some(unsupported)) => unsupported.into(),
            Err(error) => error,
        };
        Err(FormatError::new(Self::NAME, error.kind(), error))
    }
}

/// Kind of a PE file that is not a kernel.
fn unsupported_kind(file: &PeFile<'_>) -> pe::Unsupported {
    let (machine, subsystem) = (file.machine(), file.optional_header().subsystem);
    if !subsystem.is_efi() {
        pe::Unsupported::Program { subsystem, machine }
    } else if file.section(b".linux").is_some() {
        pe::Unsupported::UnifiedKernelImage { machine }
    } else {
        pe::Unsupported::EfiProgram { subsystem, machine }
    }
}

fn format_error(format: &'static str, error: LinuxImageError) -> FormatError {
    FormatError::new(format, error.kind(), error)
}

#[cfg(feature = "registry")]
mod registered {
    use boot_core::registry::Format;

    use super::{ARM64_IMAGE, PE, RISCV_IMAGE, ZBOOT};

    inventory::submit! { Format(&ARM64_IMAGE) }
    inventory::submit! { Format(&RISCV_IMAGE) }
    inventory::submit! { Format(&ZBOOT) }
    inventory::submit! { Format(&PE) }
}
