//! The plugins.

use boot_core::{ByteSource, FormatError, KernelFormat, KernelImage, Priority, SizedSource};

use crate::arm64::Arm64Image;
use crate::compressed::{Zboot, is_gzip};
use crate::error::{KernelError, Unsupported};
use crate::pe::{self, PeError, PeFile};
use crate::riscv::RiscvImage;

/// Priority of formats whose images are also PE files: before PE, after bzImage.
const BEFORE_PE: Priority = Priority::new(Priority::SPECIFIC.value() + 10);

/// Every format of this crate, for the list of formats of [`boot_core::detect`].
pub const FORMATS: [&dyn KernelFormat; 5] = [&ARM64_IMAGE, &RISCV_IMAGE, &ZBOOT, &GZIP, &PE];

/// The arm64 `Image` format.
pub const ARM64_IMAGE: Arm64ImageFormat = Arm64ImageFormat;

/// The riscv64 `Image` format.
pub const RISCV_IMAGE: RiscvImageFormat = RiscvImageFormat;

/// The EFI zboot format: recognised, and refused with what it is.
pub const ZBOOT: ZbootFormat = ZbootFormat;

/// The gzip format: recognised, and refused with what it is.
pub const GZIP: GzipFormat = GzipFormat;

/// The PE format, for files that are no kernel of another format: recognised, and refused with what it is.
pub const PE: PeFormat = PeFormat;

/// The plugin of the arm64 `Image` format.
#[derive(Clone, Copy, Debug, Default)]
pub struct Arm64ImageFormat;

/// The plugin of the riscv64 `Image` format.
#[derive(Clone, Copy, Debug, Default)]
pub struct RiscvImageFormat;

/// The plugin of the EFI zboot format.
#[derive(Clone, Copy, Debug, Default)]
pub struct ZbootFormat;

/// The plugin of the gzip format.
#[derive(Clone, Copy, Debug, Default)]
pub struct GzipFormat;

/// The plugin of the PE format.
#[derive(Clone, Copy, Debug, Default)]
pub struct PeFormat;

impl Arm64ImageFormat {
    /// The format's name.
    pub const NAME: &'static str = "arm64-image";
}

impl RiscvImageFormat {
    /// The format's name.
    pub const NAME: &'static str = "riscv-image";
}

impl ZbootFormat {
    /// The format's name.
    pub const NAME: &'static str = "efi-zboot";
}

impl GzipFormat {
    /// The format's name.
    pub const NAME: &'static str = "gzip";
}

impl PeFormat {
    /// The format's name.
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
        let image = Arm64Image::read(source).map_err(|error| kernel_error(Self::NAME, error))?;
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
        let image = RiscvImage::read(source).map_err(|error| kernel_error(Self::NAME, error))?;
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
        let error = match Zboot::read(source) {
            Ok(None) => return Ok(None),
            Ok(Some(zboot)) => Unsupported::Zboot {
                machine: zboot.machine(),
                codec: zboot.payload().codec,
                payload: zboot.payload().source,
            }
            .into(),
            Err(error) => error,
        };
        Err(kernel_error(Self::NAME, error))
    }
}

impl KernelFormat for GzipFormat {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn parse(&self, source: &dyn ByteSource) -> Result<Option<KernelImage>, FormatError> {
        let error = match is_gzip(source) {
            Ok(false) => return Ok(None),
            Ok(true) => Unsupported::Gzip.into(),
            Err(error) => error,
        };
        Err(kernel_error(Self::NAME, error))
    }
}

impl KernelFormat for PeFormat {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn parse(&self, source: &dyn ByteSource) -> Result<Option<KernelImage>, FormatError> {
        let open = || -> Result<Option<pe::Unsupported>, PeError> {
            Ok(PeFile::open(SizedSource::new(source)?)?.map(|file| what_it_is(&file)))
        };
        let error = match open() {
            Ok(None) => return Ok(None),
            Ok(Some(unsupported)) => unsupported.into(),
            Err(error) => error,
        };
        Err(FormatError::new(Self::NAME, error.kind(), error))
    }
}

/// What a PE file is that is no kernel.
fn what_it_is(file: &PeFile<'_>) -> pe::Unsupported {
    let (machine, subsystem) = (file.machine(), file.optional_header().subsystem);
    if !subsystem.is_efi() {
        pe::Unsupported::Program { subsystem, machine }
    } else if file.section(b".linux").is_some() {
        pe::Unsupported::UnifiedKernelImage { machine }
    } else {
        pe::Unsupported::EfiProgram { subsystem, machine }
    }
}

fn kernel_error(format: &'static str, error: KernelError) -> FormatError {
    FormatError::new(format, error.kind(), error)
}

#[cfg(feature = "registry")]
mod registered {
    use boot_core::registry::Format;

    use super::{ARM64_IMAGE, GZIP, PE, RISCV_IMAGE, ZBOOT};

    inventory::submit! { Format(&ARM64_IMAGE) }
    inventory::submit! { Format(&RISCV_IMAGE) }
    inventory::submit! { Format(&ZBOOT) }
    inventory::submit! { Format(&GZIP) }
    inventory::submit! { Format(&PE) }
}
