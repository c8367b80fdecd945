//! The legacy image of U-Boot (uImage): a header of 64 bytes in big endian, and data.

use alloc::vec;

use boot_core::{ByteSource, Codec, FormatErrorKind, Payload, ReadError, SizedSource, SourceRange};
use crc32fast::Hasher;
use zerocopy::big_endian::U32;
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Header of a legacy image (`struct legacy_img_hdr` in U-Boot's `include/image.h`).
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct UImageHeader {
    /// `ih_magic`: [`UImageHeader::MAGIC`].
    pub magic: U32,
    /// `ih_hcrc`: CRC-32 of the header with this field as zero.
    pub header_crc: U32,
    /// `ih_time`: time of creation, in seconds since 1970.
    pub time: U32,
    /// `ih_size`: length of the data in bytes.
    pub size: U32,
    /// `ih_load`: load address.
    pub load: U32,
    /// `ih_ep`: entry point.
    pub entry: U32,
    /// `ih_dcrc`: CRC-32 of the data.
    pub data_crc: U32,
    /// `ih_os`: operating system; 5 is Linux.
    pub os: u8,
    /// `ih_arch`: architecture of the CPU.
    pub arch: u8,
    /// `ih_type`: type of the image; 2 is a kernel.
    pub image_type: u8,
    /// `ih_comp`: compression of the data.
    pub compression: u8,
    /// `ih_name`: name, filled with zeros.
    pub name: [u8; 32],
}

const _: () = assert!(size_of::<UImageHeader>() == UImageHeader::LEN);
const _: () = assert!(core::mem::offset_of!(UImageHeader, name) == 32);

impl UImageHeader {
    /// Value of [`magic`](Self::magic).
    pub const MAGIC: u32 = 0x2705_1956;
    /// Length of the header in bytes.
    pub const LEN: usize = 64;
    /// [`image_type`](Self::image_type) of a kernel (`IH_TYPE_KERNEL`).
    pub const KERNEL: u8 = 2;
    /// [`image_type`](Self::image_type) of a kernel that runs at any address (`IH_TYPE_KERNEL_NOLOAD`).
    pub const KERNEL_NO_LOAD: u8 = 14;

    /// The CRC-32 of the header.
    fn compute_crc(&self) -> u32 {
        let mut header = *self;
        header.header_crc.set(0);
        crc32fast::hash(header.as_bytes())
    }

    /// The codec of [`compression`](Self::compression): `IH_COMP_*`. `None` for an unknown number.
    fn codec(&self) -> Option<Codec> {
        Some(match self.compression {
            0 => Codec::Stored,
            1 => Codec::Gzip,
            2 => Codec::Bzip2,
            3 => Codec::Lzma,
            4 => Codec::Lzo,
            5 => Codec::Lz4Frame,
            6 => Codec::Zstd,
            _ => return None,
        })
    }
}

/// Error of a legacy image.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UImageError {
    /// The file cannot be read.
    #[error("cannot read it")]
    Read(#[from] ReadError),
    /// The file ends inside the header.
    #[error("the file has {len} bytes, but the header has {}", UImageHeader::LEN)]
    HeaderTruncated {
        /// Length of the file in bytes.
        len: u64,
    },
    /// The CRC-32 of the header does not match.
    #[error("ih_hcrc at 0x4 is {found:#010x}, but the header has {computed:#010x}")]
    HeaderCrc {
        /// The value in the header.
        found: u32,
        /// The CRC-32 of the header.
        computed: u32,
    },
    /// The data are empty, or end after the file.
    #[error("ih_size at 0xc is {size:#x}, but {available:#x} bytes follow the header")]
    Size {
        /// The length that the header declares.
        size: u32,
        /// Number of bytes behind the header.
        available: u64,
    },
    /// The CRC-32 of the data does not match.
    #[error("ih_dcrc at 0x18 is {found:#010x}, but the data have {computed:#010x}")]
    DataCrc {
        /// The value in the header.
        found: u32,
        /// The CRC-32 of the data.
        computed: u32,
    },
    /// The number of the compression is unknown.
    #[error("ih_comp at 0x1f is {found}, expected 0 to 6")]
    Compression {
        /// The number.
        found: u8,
    },
}

impl UImageError {
    /// Category of the error.
    #[must_use]
    pub fn kind(&self) -> FormatErrorKind {
        match self {
            Self::Read(_) => FormatErrorKind::Read,
            Self::Compression { .. } => FormatErrorKind::Unsupported,
            _ => FormatErrorKind::Malformed,
        }
    }
}

/// The kernel in a legacy image; `None` without its magic number, and for an image of another type.
pub(crate) fn payload(source: &dyn ByteSource) -> Result<Option<Payload>, UImageError> {
    let source = SizedSource::new(source)?;
    let mut header = UImageHeader::new_zeroed();
    let read = source.read_prefix_at(0, header.as_mut_bytes())?;
    if header.magic.get() != UImageHeader::MAGIC {
        return Ok(None);
    }
    if read < UImageHeader::LEN {
        return Err(UImageError::HeaderTruncated { len: source.len() });
    }
    if !matches!(
        header.image_type,
        UImageHeader::KERNEL | UImageHeader::KERNEL_NO_LOAD
    ) {
        return Ok(None);
    }
    let (found, computed) = (header.header_crc.get(), header.compute_crc());
    if found != computed {
        return Err(UImageError::HeaderCrc { found, computed });
    }
    let Some(codec) = header.codec() else {
        return Err(UImageError::Compression {
            found: header.compression,
        });
    };
    let size = header.size.get();
    let range = SourceRange::new(boot_core::arith::to_u64(UImageHeader::LEN), size.into())
        .filter(|range| range.end() <= source.len() && !range.is_empty())
        .ok_or(UImageError::Size {
            size,
            available: source
                .len()
                .saturating_sub(boot_core::arith::to_u64(UImageHeader::LEN)),
        })?;
    let (found, computed) = (header.data_crc.get(), crc_of(&source, range)?);
    if found != computed {
        return Err(UImageError::DataCrc { found, computed });
    }
    let codec = match codec {
        Codec::Lz4Frame => legacy_or_frame(&source, range)?,
        codec => codec,
    };
    let unpacked_len = (codec == Codec::Stored).then_some(range.len());
    Ok(Some(
        Payload::new(range)
            .with_codec(Some(codec))
            .with_unpacked_len(unpacked_len),
    ))
}

/// The codec of LZ4 data: U-Boot has one number for both frames.
fn legacy_or_frame(source: &SizedSource<'_>, range: SourceRange) -> Result<Codec, ReadError> {
    let mut magic = [0; 4];
    source.read_prefix_at(range.offset(), &mut magic)?;
    Ok(match Codec::detect(&magic) {
        Some(Codec::Lz4Legacy) => Codec::Lz4Legacy,
        _ => Codec::Lz4Frame,
    })
}

/// Number of bytes that are read at a time.
const CHUNK: usize = 64 << 10;

/// The CRC-32 of a part of the source.
fn crc_of(source: &SizedSource<'_>, range: SourceRange) -> Result<u32, ReadError> {
    let mut hasher = Hasher::new();
    let mut buffer = vec![0; CHUNK];
    let mut offset = range.offset();
    while offset < range.end() {
        let left = range.end().saturating_sub(offset);
        let len = usize::try_from(left).unwrap_or(CHUNK).min(CHUNK);
        let chunk = buffer.get_mut(..len).unwrap_or_default();
        source.read_exact_at(offset, chunk)?;
        hasher.update(chunk);
        offset = offset.saturating_add(boot_core::arith::to_u64(len));
    }
    Ok(hasher.finalize())
}
