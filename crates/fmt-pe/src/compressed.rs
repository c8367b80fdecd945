//! Kernels that are compressed as a whole: recognised and named, but not unpacked here.
//!
//! Nothing of such a file can be placed in memory before it is unpacked, nor does it have an entry point, so no
//! [`KernelImage`](boot_core::KernelImage) can be made of it.

use boot_core::{ByteSource, Codec, Payload, SizedSource, SourceRange};
use zerocopy::little_endian::U32;
use zerocopy::{FromZeros, IntoBytes};

use crate::error::{KernelError, Malformed};
use crate::pe::{Machine, PeError, PeFile};
use crate::raw::{self, ZbootHeader};

/// The first bytes of a gzip file: the magic number, and deflate, the only method there is (RFC 1952).
const GZIP: [u8; 3] = [0x1f, 0x8b, 8];

/// How many bytes [`Codec::detect`] looks at.
const CODEC_MAGIC_LEN: u64 = 6;

/// An EFI zboot image: an EFI application that unpacks a kernel and starts it (Linux
/// `drivers/firmware/efi/libstub/zboot-header.S`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Zboot {
    header: ZbootHeader,
    machine: Machine,
    payload: Payload,
}

impl Zboot {
    /// Reads and validates the start of an EFI zboot image. `Ok(None)` means that the source is something else: it has no
    /// "MZ" at its start, or no "zimg" at 4.
    ///
    /// The PE headers are not checked but for the machine that they name.
    ///
    /// # Errors
    ///
    /// [`KernelError`] where the source has the magic number, but is malformed or cannot be read.
    pub fn read(source: &dyn ByteSource) -> Result<Option<Self>, KernelError> {
        let source = SizedSource::new(source)?;
        let mut header = ZbootHeader::new_zeroed();
        let read = source.read_prefix_at(0, header.as_mut_bytes())?;
        if !header.mz.starts_with(&raw::MZ) || header.image_type != raw::ZBOOT_MAGIC {
            return Ok(None);
        }
        if read < raw::HEADER_LEN {
            return Err(Malformed::HeaderCut { len: source.len() }.into());
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

    /// The header as it is in the file.
    #[must_use]
    pub fn header(&self) -> &ZbootHeader {
        &self.header
    }

    /// What the program, and the kernel in it, runs on. [`Machine::UNKNOWN`] where the PE header does not say or is
    /// broken.
    #[must_use]
    pub fn machine(&self) -> Machine {
        self.machine
    }

    /// The compressed kernel. What it unpacks to is an `Image`, padded to all the memory that the kernel needs.
    #[must_use]
    pub fn payload(&self) -> &Payload {
        &self.payload
    }

    /// The name of the compression, as the header has it: `gzip`, `lz4`, `lzma`, `lzo`, `xzkern` or `zstd22`.
    #[must_use]
    pub fn compression(&self) -> &[u8] {
        name(&self.header.compression)
    }
}

/// The bytes before the first zero.
fn name(bytes: &[u8]) -> &[u8] {
    bytes.split(|byte| *byte == 0).next().unwrap_or_default()
}

/// The codec by the name in the header; by the first bytes of the payload, where the name is not known.
fn codec(
    source: &SizedSource<'_>,
    header: &ZbootHeader,
    payload: SourceRange,
) -> Result<Option<Codec>, KernelError> {
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

/// The length of the unpacked kernel: the last 32 bits of a gzip stream; for other codecs, the 32 bits after the payload,
/// where the kernel's build puts it.
fn unpacked_len(
    source: &SizedSource<'_>,
    codec: Option<Codec>,
    payload: SourceRange,
) -> Result<Option<u64>, KernelError> {
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

fn machine(source: SizedSource<'_>) -> Result<Machine, KernelError> {
    match PeFile::open(source) {
        Ok(Some(pe)) => Ok(pe.machine()),
        Err(PeError::Read(error)) => Err(error.into()),
        Ok(None) | Err(PeError::Malformed(_) | PeError::Unsupported(_)) => Ok(Machine::UNKNOWN),
    }
}

/// Whether the source is a gzip file, such as an `Image.gz`. What is in it, only unpacking tells.
///
/// # Errors
///
/// [`KernelError::Read`].
pub fn is_gzip(source: &dyn ByteSource) -> Result<bool, KernelError> {
    let mut magic = [0; 3];
    SizedSource::new(source)?.read_prefix_at(0, &mut magic)?;
    Ok(magic == GZIP)
}
