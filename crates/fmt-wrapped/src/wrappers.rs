//! The wrappers of this crate.

use boot_core::{
    ByteSource, Codec, FormatError, FormatErrorKind, Payload, ReadError, SizedSource, SourceRange,
};
use fmt_bzimage::BzImage;
use fmt_pe::ZbootImage;

use crate::fit;
use crate::uimage;
use crate::wrapper::Wrapper;

/// All wrappers of this crate, for the list of [`open`](crate::open()).
pub const WRAPPERS: [&dyn Wrapper; 5] = [&BZIMAGE, &ZBOOT, &UIMAGE, &FIT, &COMPRESSED];

/// The Linux x86 bzImage.
pub const BZIMAGE: BzImageWrapper = BzImageWrapper;

/// The EFI zboot image.
pub const ZBOOT: ZbootWrapper = ZbootWrapper;

/// The legacy image of U-Boot.
pub const UIMAGE: UImageWrapper = UImageWrapper;

/// The flat image tree of U-Boot.
pub const FIT: FitWrapper = FitWrapper;

/// A compressed file.
pub const COMPRESSED: CompressedWrapper = CompressedWrapper;

/// Wrapper of the Linux x86 bzImage: the payload of its setup header.
///
/// A payload that is not compressed or of an unknown codec counts as well. A bzImage that is malformed or has no payload is not
/// wrapped: it may be an image that [`boot_core::detect`] can judge.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BzImageWrapper;

/// Wrapper of the EFI zboot image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ZbootWrapper;

/// Wrapper of the legacy image of U-Boot with one kernel. Other types, such as scripts, are not wrapped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UImageWrapper;

/// Wrapper of the flat image tree of U-Boot (FIT): the kernel of its default configuration. Device trees without images are not wrapped.
/// CRC-32 and SHA-256 values of the kernel are checked; signatures are not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FitWrapper;

/// Wrapper of compressed files, recognised by the magic number of a codec.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CompressedWrapper;

impl BzImageWrapper {
    /// Name of the wrapper: `bzimage`, as the name of the format.
    pub const NAME: &'static str = "bzimage";
}

impl ZbootWrapper {
    /// Name of the wrapper: `efi-zboot`.
    pub const NAME: &'static str = "efi-zboot";
}

impl UImageWrapper {
    /// Name of the wrapper: `uimage`.
    pub const NAME: &'static str = "uimage";
}

impl FitWrapper {
    /// Name of the wrapper: `fit`.
    pub const NAME: &'static str = "fit";
}

impl CompressedWrapper {
    /// Name of the wrapper: `compressed`.
    pub const NAME: &'static str = "compressed";
}

impl Wrapper for BzImageWrapper {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn payload(&self, source: &dyn ByteSource) -> Result<Option<Payload>, FormatError> {
        match BzImage::parse(source) {
            Ok(image) => Ok(image.as_ref().and_then(BzImage::payload).copied()),
            Err(error) if error.kind() == FormatErrorKind::Read => {
                Err(FormatError::new(Self::NAME, error.kind(), error))
            }
            Err(_) => Ok(None),
        }
    }
}

impl Wrapper for ZbootWrapper {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn payload(&self, source: &dyn ByteSource) -> Result<Option<Payload>, FormatError> {
        match ZbootImage::parse(source) {
            Ok(image) => Ok(image.map(|image| *image.payload())),
            Err(error) => Err(FormatError::new(Self::NAME, error.kind(), error)),
        }
    }
}

impl Wrapper for UImageWrapper {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn payload(&self, source: &dyn ByteSource) -> Result<Option<Payload>, FormatError> {
        uimage::payload(source).map_err(|error| FormatError::new(Self::NAME, error.kind(), error))
    }
}

impl Wrapper for FitWrapper {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn payload(&self, source: &dyn ByteSource) -> Result<Option<Payload>, FormatError> {
        fit::payload(source).map_err(|error| FormatError::new(Self::NAME, error.kind(), error))
    }
}

impl Wrapper for CompressedWrapper {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn payload(&self, source: &dyn ByteSource) -> Result<Option<Payload>, FormatError> {
        compressed(source).map_err(|error| FormatError::new(Self::NAME, FormatErrorKind::Read, error))
    }
}

/// Length of the header of a `.lzma` file: properties, dictionary size, uncompressed length.
const LZMA_HEADER: usize = 13;

/// The whole file, if it starts with the magic number of a codec.
fn compressed(source: &dyn ByteSource) -> Result<Option<Payload>, ReadError> {
    let source = SizedSource::new(source)?;
    let mut start = [0; LZMA_HEADER];
    let len = source.read_prefix_at(0, &mut start)?;
    let start = start.get(..len).unwrap_or_default();
    let codec = match Codec::detect(start) {
        Some(Codec::Lzma) if !is_lzma(start) => None,
        Some(Codec::Stored) | None => None,
        codec => codec,
    };
    Ok(codec.map(|codec| Payload::new(SourceRange::whole(source.len())).with_codec(Some(codec))))
}

/// Whether the header of a `.lzma` file declares an unknown length, or one below 2^56: its magic number alone is too short.
fn is_lzma(start: &[u8]) -> bool {
    match start.get(5..LZMA_HEADER) {
        Some(len) => len == [0xff; 8] || len.last() == Some(&0),
        None => false,
    }
}
