//! Warnings of the `Image` parsers.

use core::fmt;

use crate::pe::{self, Machine};

/// Warning of the `Image` parsers: a finding that does not stop the kernel from being loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Warning {
    /// `image_size` is zero, as in arm64 kernels before 3.17. The memory that the kernel needs is an estimate.
    NoImageSize {
        /// Estimate in bytes.
        estimate: u64,
    },
    /// `image_size` is smaller than the file. The length of the file is used instead.
    SmallImageSize {
        /// Value of `image_size`.
        image_size: u64,
        /// Length of the file in bytes.
        len: u64,
    },
    /// `text_offset` of an arm64 kernel is 2 MiB or more. The Linux build does not allow this ("TEXT_OFFSET must be less
    /// than 2MB", `head.S`), but kernels patched for certain boot loaders have it.
    LargeTextOffset {
        /// Value of `text_offset`.
        found: u64,
    },
    /// Bits of `flags` are set that have no meaning.
    UnknownFlags(
        /// Those bits.
        u64,
    ),
    /// The riscv header has a newer, compatible version. Newer fields are ignored.
    NewerRiscvHeader {
        /// Minor version.
        minor: u16,
    },
    /// The PE header, which only firmware uses, has the machine type of another architecture.
    PeMachine {
        /// Machine type in the PE header.
        found: Machine,
        /// Machine type of the `Image`.
        expected: Machine,
    },
    /// The PE header, which only firmware uses, is malformed.
    PeMalformed(
        /// Violation of the PE format.
        pe::Malformed,
    ),
    /// The PE header, which only firmware uses, is not supported by this crate.
    PeUnsupported(
        /// Reason.
        pe::Unsupported,
    ),
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoImageSize { estimate } => write!(
                f,
                "image_size at 0x10 is zero, as in kernels before 3.17; {estimate:#x} bytes are reserved, which is an estimate"
            ),
            Self::SmallImageSize { image_size, len } => write!(
                f,
                "image_size at 0x10 is {image_size:#x}, less than the {len:#x} bytes of the file; the length of the file is used"
            ),
            Self::LargeTextOffset { found } => write!(
                f,
                "text_offset at 0x8 is {found:#x}; the Linux build does not allow 0x200000 or more; the image goes to that offset from a 2 MiB boundary in RAM"
            ),
            Self::UnknownFlags(bits) => {
                write!(f, "flags at 0x18 has unknown bits, {bits:#x}; they are ignored")
            }
            Self::NewerRiscvHeader { minor } => write!(
                f,
                "the riscv header version at 0x20 is 0.{minor}, newer than 0.2; newer fields are ignored"
            ),
            Self::PeMachine { found, expected } => write!(
                f,
                "the PE header is for {found}, but the image is for {expected}, so UEFI firmware cannot start the image"
            ),
            Self::PeMalformed(error) => write!(f, "UEFI firmware cannot start the image: {error}"),
            Self::PeUnsupported(error) => write!(f, "UEFI firmware may not start the image: {error}"),
        }
    }
}
