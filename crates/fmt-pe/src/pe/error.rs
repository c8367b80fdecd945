//! Errors of the PE parser.

use boot_core::{FormatErrorKind, ReadError, SourceRange};

use super::constants::{DirectoryEntry, MAX_SECTIONS, Machine, RelocationType, Subsystem};
use super::rva::RvaRange;
use super::section_name::SectionName;

/// Error of the PE parser.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PeError {
    /// The file could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The file is malformed.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// The file is well-formed, but not supported.
    #[error(transparent)]
    Unsupported(#[from] Unsupported),
}

impl PeError {
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

/// Violation of the format. An *RVA* is an address relative to the start of the image in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum Malformed {
    /// The file ends inside the headers.
    #[error("the PE headers end at {end:#x}, but the file has {len:#x} bytes; is the file truncated?")]
    HeadersTruncated {
        /// File offset of the end of the headers.
        end: u64,
        /// Length of the file in bytes.
        len: u64,
    },
    /// The magic number of the optional header is unknown.
    #[error(
        "the magic number of the PE optional header at {offset:#x} is {found:#06x}, expected 0x10b or 0x20b"
    )]
    OptionalMagic {
        /// File offset of the magic number.
        offset: u64,
        /// Its value.
        found: u16,
    },
    /// `SizeOfOptionalHeader` is too small for the optional header.
    #[error(
        "SizeOfOptionalHeader of the PE header is {found:#x}, but the optional header at {offset:#x} with its {directories} data directories has {need:#x} bytes"
    )]
    OptionalHeaderTooShort {
        /// File offset of the optional header.
        offset: u64,
        /// Value of `SizeOfOptionalHeader`.
        found: u16,
        /// `NumberOfRvaAndSizes`: number of data directories.
        directories: u32,
        /// Length of the optional header with these data directories, in bytes.
        need: u64,
    },
    /// `SectionAlignment` or `FileAlignment` is invalid.
    #[error(
        "SectionAlignment {section:#x} and FileAlignment {file:#x} of the PE header must be powers of two, the first not below the second"
    )]
    Alignment {
        /// `SectionAlignment`.
        section: u32,
        /// `FileAlignment`.
        file: u32,
    },
    /// `SizeOfHeaders` is less than the headers or more than the image.
    #[error(
        "SizeOfHeaders of the PE header is {found:#x}, expected at least {end:#x}, the end of the headers, and at most {image:#x}, the SizeOfImage"
    )]
    SizeOfHeaders {
        /// Value of `SizeOfHeaders`.
        found: u32,
        /// File offset of the end of the section table.
        end: u64,
        /// `SizeOfImage`.
        image: u32,
    },
    /// The entry point is outside the image.
    #[error("the PE entry point is at RVA {found:#x}, outside the image of {image:#x} bytes")]
    EntryPoint {
        /// Value of `AddressOfEntryPoint`.
        found: u32,
        /// `SizeOfImage`.
        image: u32,
    },
    /// The file ends before the content of a section.
    #[error(
        "the content of the PE section \"{name}\" is at bytes {data}, but the file has {len:#x} bytes; is the file truncated?"
    )]
    SectionTruncated {
        /// Name of the section.
        name: SectionName,
        /// File range of the content.
        data: SourceRange,
        /// Length of the file in bytes.
        len: u64,
    },
    /// The content of a section begins inside the headers. UEFI firmware refuses this (EDK2, `PeCoffLoaderGetImageInfo`).
    #[error(
        "the content of the PE section \"{name}\" is at byte {offset:#x}, inside the headers, which end at {headers:#x}"
    )]
    SectionInHeaders {
        /// Name of the section.
        name: SectionName,
        /// `PointerToRawData`.
        offset: u32,
        /// `SizeOfHeaders`.
        headers: u32,
    },
    /// A section lies outside the image.
    #[error(
        "the PE section \"{name}\" takes {need:#x} bytes from RVA {start:#x}, outside the image of {image:#x} bytes"
    )]
    SectionOutsideImage {
        /// Name of the section.
        name: SectionName,
        /// RVA of the start.
        start: u32,
        /// Length in memory in bytes.
        need: u32,
        /// `SizeOfImage`.
        image: u32,
    },
    /// Two sections, or a section and the headers, overlap in memory.
    #[error("the PE section \"{name}\" at RVAs {range} overlaps another section or the headers at {other}")]
    SectionsOverlap {
        /// Name of the section.
        name: SectionName,
        /// Its range in memory.
        range: RvaRange,
        /// Range of the other section or of the headers.
        other: RvaRange,
    },
    /// The table of a data directory is not in the file range of one section.
    #[error("the PE {directory} ({size:#x} bytes from RVA {start:#x}) is not in the file")]
    DirectoryOutsideFile {
        /// The directory.
        directory: DirectoryEntry,
        /// RVA of the table.
        start: u32,
        /// Length of the table in bytes.
        size: u32,
    },
    /// The size of a block of base relocations is invalid.
    #[error(
        "the block of base relocations at RVA {rva:#x} has a size of {size:#x} bytes; it must be even, at least 8, and not exceed the table, which ends at {end:#x}"
    )]
    RelocationBlock {
        /// RVA of the block.
        rva: u32,
        /// Size of the block in bytes.
        size: u32,
        /// RVA of the end of the table.
        end: u32,
    },
    /// The field of a base relocation lies outside the image.
    #[error(
        "the {relocation_type} base relocation of the field at RVA {rva:#x} is outside the image of {image:#x} bytes"
    )]
    RelocationOutsideImage {
        /// RVA of the field.
        rva: u64,
        /// Type of the relocation.
        relocation_type: RelocationType,
        /// `SizeOfImage`.
        image: u32,
    },
}

/// Reason why this crate does not support a well-formed file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum Unsupported {
    /// A ROM image.
    #[error("the file is a PE ROM image; only PE32 and PE32+ are supported")]
    Rom,
    /// More than [`MAX_SECTIONS`] sections.
    #[error("the file has {found} PE sections; at most {MAX_SECTIONS} are supported")]
    TooManySections {
        /// Number of sections.
        found: u16,
    },
    /// Base relocation of an unsupported type.
    #[error("the base relocation of the field at RVA {rva:#x} has the unsupported type {}", .relocation_type.0)]
    RelocationType {
        /// RVA of the field.
        rva: u64,
        /// The type.
        relocation_type: RelocationType,
    },
    /// EFI image that is not a kernel.
    #[error("it is an {subsystem} for {machine}, which only UEFI firmware can run")]
    EfiProgram {
        /// Subsystem.
        subsystem: Subsystem,
        /// Machine type.
        machine: Machine,
    },
    /// Unified kernel image: an EFI application that contains a kernel, its command line and an initrd.
    #[error(
        "it is a unified kernel image for {machine}, an EFI application, which only UEFI firmware can run; extract the kernel with \"objcopy -O binary --only-section=.linux FILE OUTPUT\" and boot OUTPUT"
    )]
    UnifiedKernelImage {
        /// Machine type.
        machine: Machine,
    },
    /// Program of an operating system.
    #[error("the file is a program ({subsystem}) for {machine}, not a kernel")]
    Program {
        /// Subsystem.
        subsystem: Subsystem,
        /// Machine type.
        machine: Machine,
    },
}
