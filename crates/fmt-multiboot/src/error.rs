//! Errors of the Multiboot parser.

use core::fmt;

use boot_core::format::FormatErrorKind;
use boot_core::{ImageError, ReadError};
use fmt_elf::ElfError;
pub use fmt_elf::Field;

/// Values that are valid in a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ValidValues {
    /// This value or a higher one.
    AtLeast(u64),
    /// This value or a lower one.
    AtMost(u64),
    /// An address in the loaded memory: at least the first value, less than the second.
    Inside(u64, u64),
}

impl fmt::Display for ValidValues {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtLeast(value) => write!(f, "{value:#x} or more"),
            Self::AtMost(value) => write!(f, "{value:#x} or less"),
            Self::Inside(start, end) => write!(f, "an address in the loaded memory, {start:#x}..{end:#x}"),
        }
    }
}

/// Error of the Multiboot parser.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MultibootError {
    /// The file could not be read.
    #[error("the Multiboot file cannot be read")]
    Read(#[from] ReadError),
    /// The file is an ELF file that `fmt-elf` refuses, and the header has no load addresses to use instead.
    #[error(
        "the file has a Multiboot header without load addresses, and its ELF headers are invalid or unsupported"
    )]
    Elf(#[from] ElfError),
    /// The file is well-formed, but this crate does not load its kind.
    #[error(transparent)]
    Unsupported(#[from] Unsupported),
    /// A field has an invalid value.
    #[error("{field} is {value:#x}, expected {expected}")]
    InvalidField {
        /// The field.
        field: Field,
        /// Its value.
        value: u64,
        /// Valid values.
        expected: ValidValues,
    },
    /// The header ends past the end of the file, or past the first 8 KiB (Multiboot) or 32 KiB (Multiboot2) of the file.
    #[error(
        "the {version} header of {len:#x} bytes at byte {offset:#x} ends past byte {limit:#x}, the end of the file or of the \
         part of the file that may contain the header"
    )]
    HeaderPastEnd {
        /// The specification: `Multiboot` or `Multiboot2`.
        version: &'static str,
        /// File offset of the header.
        offset: u64,
        /// Length of the header in bytes.
        len: u64,
        /// Highest valid end of the header, as a file offset.
        limit: u64,
    },
    /// The header ends inside a tag.
    #[error("the Multiboot2 header ends at byte {end:#x}, inside a tag")]
    TagTruncated {
        /// File offset of the end of the header.
        end: u64,
    },
    /// The header has two address tags or two entry address tags with different values.
    #[error(
        "there is a second Multiboot2 header tag of type {kind}, with other addresses, at byte {offset:#x}"
    )]
    DuplicateTag {
        /// The type.
        kind: u16,
        /// File offset of the second tag.
        offset: u64,
    },
    /// The header has an address tag but no entry address tag.
    #[error("the Multiboot2 header at byte {offset:#x} has an address tag but no entry address tag")]
    NoEntryAddressTag {
        /// File offset of the header.
        offset: u64,
    },
    /// Neither the header nor the ELF file specifies an entry point.
    #[error("the ELF file with the Multiboot header at byte {offset:#x} has no entry point: `e_entry` is 0")]
    NoEntry {
        /// File offset of the header.
        offset: u64,
    },
    /// The file does not make a valid [`KernelImage`](boot_core::KernelImage).
    #[error("the Multiboot file is not a valid kernel image")]
    Image(#[from] ImageError),
}

/// Reason why this crate does not load a well-formed file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unsupported {
    /// Unsupported architecture.
    #[error("{field} is {architecture}; the only architecture supported is i386 (0)")]
    Architecture {
        /// The field `architecture`.
        field: Field,
        /// Its value.
        architecture: u32,
    },
    /// The header has no load addresses, and the file is not an ELF file.
    #[error(
        "the Multiboot header at byte {offset:#x} has no load addresses, and the file is not an ELF file"
    )]
    NoLoadAddresses {
        /// File offset of the header.
        offset: u64,
    },
}

impl MultibootError {
    /// Category of the error.
    #[must_use]
    pub fn kind(&self) -> FormatErrorKind {
        match self {
            Self::Read(_) => FormatErrorKind::Read,
            Self::Unsupported(_) => FormatErrorKind::Unsupported,
            Self::Elf(error) => error.kind(),
            _ => FormatErrorKind::Malformed,
        }
    }
}
