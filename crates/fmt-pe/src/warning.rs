//! What is strange about an `Image` without being wrong.

use core::fmt;

use crate::pe::{self, Machine};

/// Something strange that does not keep the kernel from being loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Warning {
    /// `image_size` is zero: an arm64 kernel from before 3.17. Its memory is an estimate.
    NoImageSize {
        /// The memory that it is given, in bytes.
        estimate: u64,
    },
    /// `image_size` is smaller than the file: the file's own length is used.
    SmallImageSize {
        /// `image_size`.
        found: u64,
        /// The length of the file.
        len: u64,
    },
    /// `text_offset` of an arm64 kernel is 2 MiB or more, though it counts from a 2 MiB boundary. Linux refuses to be
    /// built so ("TEXT_OFFSET must be less than 2MB", in `head.S`); kernels patched for one boot loader are so
    /// nevertheless.
    LargeTextOffset {
        /// `text_offset`.
        found: u64,
    },
    /// Bits of `flags` that have no meaning.
    UnknownFlags(
        /// Those bits.
        u64,
    ),
    /// The riscv header is newer than this crate, but compatible: what it added is ignored.
    NewerRiscvHeader {
        /// The minor version.
        minor: u16,
    },
    /// The PE header, which only firmware needs, is for another architecture.
    PeMachine {
        /// The machine that it names.
        found: Machine,
        /// The machine of the `Image`.
        expected: Machine,
    },
    /// The PE header, which only firmware needs, is broken.
    PeMalformed(pe::Malformed),
    /// The PE header, which only firmware needs, is of a kind that this crate does not know.
    PeUnsupported(pe::Unsupported),
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoImageSize { estimate } => write!(
                f,
                "image_size at 0x10 is zero, as in kernels before 3.17; it is given {estimate:#x} bytes, which is an estimate"
            ),
            Self::SmallImageSize { found, len } => write!(
                f,
                "image_size at 0x10 is {found:#x}, less than the {len:#x} bytes of the file; those are used"
            ),
            Self::LargeTextOffset { found } => write!(
                f,
                "text_offset at 0x8 is {found:#x}, though it counts from a 2 MiB boundary; Linux refuses to be built with 0x200000 or more"
            ),
            Self::UnknownFlags(bits) => {
                write!(
                    f,
                    "flags at 0x18 have bits without a meaning, {bits:#x}; they are ignored"
                )
            }
            Self::NewerRiscvHeader { minor } => write!(
                f,
                "the header version at 0x20 is 0.{minor}, newer than 0.2; what it added is ignored"
            ),
            Self::PeMachine { found, expected } => write!(
                f,
                "its PE header is for {found}, but the image is for {expected}: firmware will not start it"
            ),
            Self::PeMalformed(error) => write!(f, "firmware will not start it: {error}"),
            Self::PeUnsupported(error) => write!(f, "firmware may not start it: {error}"),
        }
    }
}
