//! EFI zboot images.
//!
//! The compressed kernel must be decompressed before it can be placed, so there is no
//! [`KernelImage`](boot_core::KernelImage) of such a file.

use boot_core::{ByteSource, Codec, Payload, SizedSource, SourceRange};
use zerocopy::little_endian::U32;
use zerocopy::{FromZeros, IntoBytes};

use crate::error::{LinuxImageError, Malformed};
use crate::pe::{Machine, PeError, PeFile};
use crate::raw::{self, ZbootHeader};

/// Number of bytes that [`Codec::detect`] needs.
const CODEC_MAGIC_LEN: u64 = 6;

/// EFI zboot image: an EFI application that decompresses and starts a kernel (Linux
/// `drivers/firmware/efi/libstub/zboot-header.S`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ZbootImage {
    header: ZbootHeader,
    machine: Machine,
    payload: Payload,
}

impl ZbootImage {
    /// Parses and validates the header of an EFI zboot image. `Ok(None)` if the source does not have "MZ" at 0 and "zimg"
    /// at 4.
    ///
    /// Of the PE headers only the machine type is used; errors in them are ignored.
    ///
    /// # Errors
    ///
    /// [`LinuxImageError`] if the source has both but is malformed, or if it cannot be read.
    pub fn parse(source: &dyn ByteSource) -> Result<Option<Self>, LinuxImageError> {
        let source = SizedSource::new(source)?;
        let mut header = ZbootHeader::new_zeroed();
        let read = source.read_prefix_at(0, header.as_mut_bytes())?;
        if !header.mz.starts_with(&raw::MZ) || header.image_type != raw::ZBOOT_MAGIC {
            return Ok(None);
        }
        if read < raw::HEADER_LEN {
            return Err(Malformed::HeaderTruncated { len: source.len() }.into());
        }
        let (offset, size) = (header.payload_offset.get(), header.payload_size.get());
        let range = SourceRange::new(offset.into(), size.into())
            .filter(|range| range.end() <= source.len() && !range.is_empty())
            .ok_or(Malformed::ZbootPayload {
                offset,
                size,
                len: source.len(),
            })?;
        let codec = codec(&source, &header, range)?;
        let payload = Payload::new(range)
            .with_codec(codec)
            .with_unpacked_len(unpacked_len(&source, codec, range)?);
        let machine = machine(source)?;
        Ok(Some(Self {
            header,
            machine,
            payload,
        }))
    }

    /// Header as in the file.
    #[must_use]
    pub fn header(&self) -> &ZbootHeader {
        &self.header
    }

    /// Machine type from the PE header; [`Machine::UNKNOWN`] if that is malformed or absent.
    #[must_use]
    pub fn machine(&self) -> Machine {
        self.machine
    }

    /// Compressed kernel. It decompresses to an `Image`, padded to the memory that the kernel needs.
    #[must_use]
    pub fn payload(&self) -> &Payload {
        &self.payload
    }

    /// Name of the compression in the header, not checked. Linux writes `gzip`, `lz4`, `lzma`, `lzo`, `xzkern` or `zstd22`.
    #[must_use]
    pub fn compression(&self) -> &[u8] {
        name(&self.header.compression)
    }
}

/// Bytes before the first zero.
fn name(bytes: &[u8]) -> &[u8] {
    bytes.split(|byte| *byte == 0).next().unwrap_or_default()
}

/// Codec with the name in the header or, for an unknown name, with the magic number of the payload.
fn codec(
    source: &SizedSource<'_>,
    header: &ZbootHeader,
    payload: SourceRange,
) -> Result<Option<Codec>, LinuxImageError> {
    let known = match name(&header.compression) {
        b"gzip" => Some(Codec::Gzip),
        b"lz4" => Some(Codec::Lz4Legacy),
        b"lzma" => Some(Codec::Lzma),
        b"lzo" => Some(Codec::Lzo),
        b"xzkern" => Some(Codec::Xz),
        b"zstd22" => Some(Codec::Zstd),
        _ => None,
    };
    if known.is_some() {
        return Ok(known);
    }
    let len = usize::try_from(payload.len().min(CODEC_MAGIC_LEN)).unwrap_or(0);
    Ok(Codec::detect(&source.read_vec(payload.offset(), len)?))
}

/// Decompressed length: the last 32 bits of a gzip stream; for other codecs, the 32 bits after the payload, which the Linux
/// build appends.
fn unpacked_len(
    source: &SizedSource<'_>,
    codec: Option<Codec>,
    payload: SourceRange,
) -> Result<Option<u64>, LinuxImageError> {
    let offset = match codec {
        None => return Ok(None),
        Some(Codec::Stored) => return Ok(Some(payload.len())),
        Some(Codec::Gzip) if payload.len() < 4 => return Ok(None),
        Some(Codec::Gzip) => payload.end().saturating_sub(4),
        Some(_) => payload.end(),
    };
    let mut len = U32::new(0);
    let read = source.read_prefix_at(offset, len.as_mut_bytes())?;
    Ok((read == size_of::<U32>()).then(|| len.get().into()))
}

fn machine(source: SizedSource<'_>) -> Result<Machine, LinuxImageError> {
    match PeFile::parse(source) {
        Ok(Some(pe)) => Ok(pe.machine()),
        Err(PeError::Read(error)) => Err(error.into()),
        Ok(None) | Err(PeError::Malformed(_) | PeError::Unsupported(_)) => Ok(Machine::UNKNOWN),
    }
}
