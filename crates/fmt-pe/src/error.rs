//! What can be wrong with an `Image` or a compressed kernel.

use boot_core::image::ImageError;
use boot_core::{Codec, FormatErrorKind, ReadError, SourceRange};

use crate::pe::{self, Machine};

/// Why an image that carries the magic number of an `Image` or a compressed kernel was not accepted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KernelError {
    /// The image could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The image breaks the rules of the format.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// The image keeps the rules but needs something this crate does not do.
    #[error(transparent)]
    Unsupported(#[from] Unsupported),
}

impl KernelError {
    /// The kind of error, as format-neutral code needs it.
    #[must_use]
    pub const fn kind(&self) -> FormatErrorKind {
        match self {
            Self::Read(_) => FormatErrorKind::Read,
            Self::Malformed(_) => FormatErrorKind::Malformed,
            Self::Unsupported(_) => FormatErrorKind::Unsupported,
        }
    }
}

/// How an image breaks the rules of the format. Offsets are those of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Malformed {
    /// The file ends inside the header.
    #[error(
        "the file has {len:#x} bytes, but the header has {:#x}; is it complete?",
        crate::raw::HEADER_LEN
    )]
    HeaderCut {
        /// The length of the file.
        len: u64,
    },
    /// A riscv header without the magic number that its version needs.
    #[error("magic2 at 0x38 is {found:02x?}, not \"RSC\\x05\", which header version 0.{minor} needs")]
    RiscvMagic2 {
        /// What was found.
        found: [u8; 4],
        /// The minor header version.
        minor: u16,
    },
    /// A riscv `Image` without a size.
    #[error("image_size at 0x10 is zero, but a riscv kernel must say how much memory it needs")]
    NoImageSize,
    /// `text_offset` is not aligned.
    #[error("text_offset at 0x8 is {found:#x}, which is no multiple of {align:#x}")]
    TextOffset {
        /// What was found.
        found: u64,
        /// What it must be a multiple of.
        align: u64,
    },
    /// The memory that the kernel needs does not fit behind its offset.
    #[error(
        "the kernel needs {need:#x} bytes (image_size at 0x10) from {text_offset:#x} on (text_offset at 0x8), more than it can address there"
    )]
    Memory {
        /// `text_offset`.
        text_offset: u64,
        /// `image_size`, the length of the file, or an estimate.
        need: u64,
    },
    /// The file ends before what its PE header announces.
    #[error(transparent)]
    PeCut(pe::Malformed),
    /// The compressed kernel of a zboot image is not inside the file.
    #[error(
        "the compressed kernel (payload offset at 0x8: {offset:#x}, payload size at 0xc: {size:#x}) is not inside the file, which has {len:#x} bytes; is it complete?"
    )]
    ZbootPayload {
        /// The payload offset.
        offset: u32,
        /// The payload size.
        size: u32,
        /// The length of the file.
        len: u64,
    },
    /// What the header says makes no loadable image.
    #[error(transparent)]
    Image(#[from] ImageError),
}

/// What an image needs that this crate does not do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unsupported {
    /// A riscv header of another major version.
    #[error(
        "its header version, at 0x20, is {major}.{minor}; this crate knows 0.1, 0.2 and what is compatible with them"
    )]
    RiscvVersion {
        /// The major version.
        major: u16,
        /// The minor version.
        minor: u16,
    },
    /// A kernel for 32-bit riscv.
    #[error(
        "its PE header says that it is a kernel for {}; only the 64-bit architecture is supported",
        Machine::RISCV32
    )]
    Riscv32,
    /// An EFI application that unpacks a kernel.
    #[error(
        "it is an EFI zboot image, which needs a firmware: a program for {machine} with a kernel inside that is compressed with {}, at bytes {payload}; unpack that and boot it",
        .codec.map_or("an unknown codec", Codec::name)
    )]
    Zboot {
        /// What the program, and the kernel with it, is for.
        machine: Machine,
        /// The codec of the kernel inside; `None` where it is of no known codec.
        codec: Option<Codec>,
        /// The compressed kernel.
        payload: SourceRange,
    },
    /// A gzip file.
    #[error("it is compressed with gzip; unpack it first (\"gunzip\" does) and boot what comes out")]
    Gzip,
}
