//! What can be wrong with a Multiboot header, each time with the field, where it is, and what was found.

use core::fmt;

use boot_core::format::FormatErrorKind;
use boot_core::{ImageError, ReadError};
use fmt_elf::ElfError;
pub use fmt_elf::Field;

/// What a field must hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Expected {
    /// This value or more.
    AtLeast(u64),
    /// This value or less.
    AtMost(u64),
    /// A power of two.
    PowerOfTwo,
    /// An address inside what is loaded: from the first number up to the second, exclusive.
    Inside(u64, u64),
}

impl fmt::Display for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtLeast(value) => write!(f, "{value:#x} or more"),
            Self::AtMost(value) => write!(f, "{value:#x} or less"),
            Self::PowerOfTwo => f.write_str("a power of two"),
            Self::Inside(start, end) => write!(f, "an address in {start:#x}..{end:#x}, which is loaded"),
        }
    }
}

/// Why a file with a Multiboot header is no kernel image that this crate accepts.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MultibootError {
    /// The file could not be read.
    #[error("the file cannot be read")]
    Read(#[from] ReadError),
    /// The ELF file that the header is in is malformed or not supported.
    #[error("the ELF file with the Multiboot header is refused")]
    Elf(#[from] ElfError),
    /// The file keeps the rules but is nothing this crate loads.
    #[error(transparent)]
    Unsupported(#[from] Unsupported),
    /// A field holds what it must not.
    #[error("{at} is {found:#x}, expected {expected}")]
    Value {
        /// The field.
        at: Field,
        /// What it holds.
        found: u64,
        /// What it may hold.
        expected: Expected,
    },
    /// A header that does not end where it must.
    #[error(
        "the {version} header at byte {offset:#x} has {len:#x} bytes and ends past byte {limit:#x}, the end of the file or of \
         the part that a header must lie in"
    )]
    PastEnd {
        /// The specification: `Multiboot` or `Multiboot2`.
        version: &'static str,
        /// The file offset of the header.
        offset: u64,
        /// Its length in bytes.
        len: u64,
        /// The file offset that it must end at, at the latest.
        limit: u64,
    },
    /// A header whose tags are not terminated.
    #[error("the Multiboot2 header ends at byte {end:#x} without an end tag")]
    NoEndTag {
        /// The file offset of the end of the header.
        end: u64,
    },
    /// A tag of which there may be one.
    #[error("there is a second Multiboot2 header tag of type {kind} at byte {offset:#x}")]
    DuplicateTag {
        /// The type.
        kind: u16,
        /// The file offset of the second one.
        offset: u64,
    },
    /// An address tag without an entry address tag.
    #[error("the Multiboot2 header at byte {offset:#x} has an address tag but no entry address tag")]
    NoEntryTag {
        /// The file offset of the header.
        offset: u64,
    },
    /// An ELF file without an entry point that Multiboot could call.
    #[error("the ELF file with the Multiboot header at byte {offset:#x} has no entry point: `e_entry` is 0")]
    NoEntry {
        /// The file offset of the header.
        offset: u64,
    },
    /// The image as a whole breaks a promise of [`KernelImage`](boot_core::KernelImage).
    #[error("the file makes no valid kernel image")]
    Image(#[from] ImageError),
}

/// What this crate does not load although it is well-formed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unsupported {
    /// Another architecture than i386.
    #[error("{at} is {found}: unsupported, only 0 (i386) is")]
    Architecture {
        /// The field `architecture`.
        at: Field,
        /// Its value.
        found: u32,
    },
    /// Neither an ELF file nor load addresses.
    #[error(
        "the file has a Multiboot header at byte {offset:#x} but is no ELF file, and the header has no load addresses: \
         unsupported"
    )]
    NoAddresses {
        /// The file offset of the header.
        offset: u64,
    },
}

impl MultibootError {
    /// Whether the file breaks the rules, needs something this crate does not do, or could not be read.
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
