//! Errors of the `Image` and zboot parsers.

use core::fmt;

use boot_core::{Codec, FormatErrorKind, ImageError, ReadError, SourceRange};

use crate::pe::{self, Machine};
use crate::raw::HEADER_LEN;

/// Error of the `Image` and zboot parsers.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LinuxImageError {
    /// The image could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The image is malformed.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// The image is well-formed, but this crate does not support its kind.
    #[error(transparent)]
    Unsupported(#[from] Unsupported),
}

impl LinuxImageError {
    /// Category of the error.
    #[must_use]
    pub const fn kind(&self) -> FormatErrorKind {
        match self {
            Self::Read(_) => FormatErrorKind::Read,
            Self::Malformed(_) => FormatErrorKind::Malformed,
            Self::Unsupported(_) => FormatErrorKind::Unsupported,
        }
    }
}

/// Violation of the format. Offsets are file offsets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Malformed {
    /// The file ends inside the 64 bytes of the `Image` or zboot header.
    #[error(
        "the file has {len:#x} bytes, but the header of its format has {HEADER_LEN:#x}; is the file truncated?"
    )]
    HeaderTruncated {
        /// Length of the file in bytes.
        len: u64,
    },
    /// `magic2` of a riscv header of version 0.2 or later is wrong.
    #[error("magic2 at 0x38 is {found:02x?}, expected \"RSC\\x05\" in a header of version 0.{minor}")]
    RiscvMagic2 {
        /// Value of `magic2`.
        found: [u8; 4],
        /// Minor version of the header.
        minor: u16,
    },
    /// `image_size` of a riscv `Image` is zero.
    #[error("image_size at 0x10 is zero, but it is mandatory in a riscv Image")]
    ZeroImageSize,
    /// `text_offset` is not aligned: to 4 bytes in an arm64 `Image`, to 2 MiB in a riscv `Image`.
    #[error("text_offset at 0x8 is {found:#x}, expected a multiple of {align:#x}")]
    TextOffset {
        /// Value of `text_offset`.
        found: u64,
        /// Required alignment in bytes.
        align: u64,
    },
    /// The memory that the kernel needs ends past the addresses that it can use.
    #[error(
        "the kernel needs {len:#x} bytes (image_size at 0x10, or computed from the length of the file) from {text_offset:#x} (text_offset at 0x8), more than it can address"
    )]
    AddressOverflow {
        /// Value of `text_offset`; 0x80000 if `image_size` of an arm64 `Image` is zero.
        text_offset: u64,
        /// Memory that it needs in bytes: `image_size`, the length of the file, or an estimate.
        len: u64,
    },
    /// The file ends before the end of its PE headers or PE sections.
    #[error(transparent)]
    PeTruncated(pe::Malformed),
    /// The payload of a zboot image lies outside the file.
    #[error(
        "the payload (payload_offset at 0x8: {offset:#x}, payload_size at 0xc: {size:#x}) is empty or outside the file, which has {len:#x} bytes; is the file truncated?"
    )]
    ZbootPayload {
        /// Value of `payload_offset`.
        offset: u32,
        /// Value of `payload_size`.
        size: u32,
        /// Length of the file in bytes.
        len: u64,
    },
    /// The header does not make a valid [`KernelImage`](boot_core::KernelImage).
    #[error(transparent)]
    Image(#[from] ImageError),
}

/// Reason why this crate does not support a well-formed image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unsupported {
    /// The major version of a riscv header is not 0.
    #[error(
        "the riscv header version at 0x20 is {major}.{minor}; supported are 0.1, 0.2 and later versions compatible with them"
    )]
    RiscvVersion {
        /// Major version.
        major: u16,
        /// Minor version.
        minor: u16,
    },
    /// A kernel for 32-bit riscv.
    #[error(
        "the machine type in the PE header is {}; only 64-bit riscv is supported",
        Machine::RISCV32
    )]
    Riscv32,
    /// EFI zboot image: an EFI application that decompresses and starts a kernel.
    #[error(
        "it is an EFI zboot image for {machine}, which only UEFI firmware can run; extract the kernel with \"tail -c +{} FILE | head -c {}{} > OUTPUT\" and boot OUTPUT{}",
        .payload.offset().saturating_add(1),
        .payload.len(),
        Decompress(*.codec),
        if .codec.is_none() { ", decompressed: its compression is unknown" } else { "" }
    )]
    Zboot {
        /// Machine type.
        machine: Machine,
        /// Codec of the compressed kernel; `None` if it is unknown.
        codec: Option<Codec>,
        /// File range of the compressed kernel.
        payload: SourceRange,
    },
}

/// The rest of a command line that decompresses its input; empty if there is nothing to decompress or the codec is unknown.
struct Decompress(Option<Codec>);

impl fmt::Display for Decompress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.and_then(Codec::decompress_command) {
            Some(command) => write!(f, " | {command}"),
            None => Ok(()),
        }
    }
}
