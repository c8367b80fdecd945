//! What can be wrong with a PE file.

use boot_core::{FormatErrorKind, ReadError, SourceRange};

use super::{Directory, Machine, RelocationType, RvaRange, SectionName, Subsystem};

/// Why a file that carries the PE signature was not accepted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PeError {
    /// The file could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The file breaks the rules of the format.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// The file keeps the rules but needs something this crate does not do.
    #[error(transparent)]
    Unsupported(#[from] Unsupported),
}

impl PeError {
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

/// How a file breaks the rules of the format.
///
/// Offsets of the file are written as such; an *RVA* is an address relative to the start of the image in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum Malformed {
    /// The file ends inside the headers.
    #[error("the PE headers reach to {end:#x}, but the file has {len:#x} bytes; is it complete?")]
    HeadersCut {
        /// The file offset that the headers reach to.
        end: u64,
        /// The length of the file.
        len: u64,
    },
    /// An optional header that is none.
    #[error(
        "the magic number of the PE optional header at {offset:#x} is {found:#06x}, neither 0x10b nor 0x20b"
    )]
    OptionalMagic {
        /// The file offset of the field.
        offset: u64,
        /// What was found.
        found: u16,
    },
    /// The optional header is shorter than its fields.
    #[error(
        "SizeOfOptionalHeader of the PE header is {found:#x}, but the optional header at {offset:#x} with its {directories} data directories has {need:#x} bytes"
    )]
    OptionalHeaderTooShort {
        /// The file offset of the optional header.
        offset: u64,
        /// What was found.
        found: u16,
        /// The number of data directories.
        directories: u32,
        /// What is needed.
        need: u64,
    },
    /// An alignment that is none.
    #[error(
        "SectionAlignment {section:#x} and FileAlignment {file:#x} of the PE header must be powers of two, and the first not below the second"
    )]
    Alignment {
        /// `SectionAlignment`.
        section: u32,
        /// `FileAlignment`.
        file: u32,
    },
    /// `SizeOfHeaders` does not fit the headers and the image.
    #[error(
        "SizeOfHeaders of the PE header is {found:#x}, but the headers end at {end:#x} and the image, by SizeOfImage, at {image:#x}"
    )]
    SizeOfHeaders {
        /// What was found.
        found: u32,
        /// Where the section table ends.
        end: u64,
        /// `SizeOfImage`.
        image: u32,
    },
    /// The entry point is outside the image.
    #[error("the PE entry point is at RVA {found:#x}, outside the image of {image:#x} bytes")]
    EntryPoint {
        /// What was found.
        found: u32,
        /// `SizeOfImage`.
        image: u32,
    },
    /// The file ends before the bytes of a section.
    #[error(
        "the PE section \"{name}\" fills bytes {data} of the file, which has {len:#x} bytes; is it complete?"
    )]
    SectionCut {
        /// The section's name.
        name: SectionName,
        /// Where its bytes should be.
        data: SourceRange,
        /// The length of the file.
        len: u64,
    },
    /// The bytes of a section begin inside the headers, which firmware refuses (EDK2, `PeCoffLoaderGetImageInfo`).
    #[error(
        "the PE section \"{name}\" is filled from byte {offset:#x} of the file on, inside the headers, which end at {headers:#x}"
    )]
    SectionInHeaders {
        /// The section's name.
        name: SectionName,
        /// `PointerToRawData`.
        offset: u32,
        /// `SizeOfHeaders`.
        headers: u32,
    },
    /// A section is outside the image.
    #[error(
        "the PE section \"{name}\" takes {need:#x} bytes from RVA {start:#x} on, outside the image of {image:#x} bytes"
    )]
    SectionOutside {
        /// The section's name.
        name: SectionName,
        /// Its start in memory.
        start: u32,
        /// Its length in memory.
        need: u32,
        /// `SizeOfImage`.
        image: u32,
    },
    /// Two sections, or a section and the headers, share an address.
    #[error("the PE section \"{name}\" at RVAs {range} overlaps what is at {other}")]
    SectionsOverlap {
        /// The section's name.
        name: SectionName,
        /// Where it is.
        range: RvaRange,
        /// The other section, or the headers.
        other: RvaRange,
    },
    /// A data directory is not in the bytes of one section.
    #[error("the PE {directory} takes {size:#x} bytes from RVA {start:#x} on, which the file does not fill")]
    DirectoryOutside {
        /// The directory.
        directory: Directory,
        /// Its start in memory.
        start: u32,
        /// Its length.
        size: u32,
    },
    /// A block of base relocations is no block.
    #[error(
        "the block of base relocations at RVA {rva:#x} claims {size:#x} bytes; it must be an even number from 8 on and end with the table, at {end:#x}"
    )]
    RelocationBlock {
        /// Where the block is.
        rva: u32,
        /// Its size.
        size: u32,
        /// The end of the table.
        end: u32,
    },
    /// A base relocation of two entries ends after the first.
    #[error("the base relocation of RVA {rva:#x} needs a second entry, but its block ends")]
    RelocationCut {
        /// What is relocated.
        rva: u32,
    },
    /// A base relocation outside the image.
    #[error("the base relocation ({kind}) of RVA {rva:#x} is outside the image of {image:#x} bytes")]
    RelocationOutside {
        /// What is relocated.
        rva: u64,
        /// How.
        kind: RelocationType,
        /// `SizeOfImage`.
        image: u32,
    },
}

/// What a file needs that this crate does not do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum Unsupported {
    /// A ROM image.
    #[error("it is a PE ROM image; only PE32 and PE32+ are supported")]
    Rom,
    /// More sections than anybody needs.
    #[error("it has {found} PE sections; this crate takes up to {}", super::MAX_SECTIONS)]
    TooManySections {
        /// How many.
        found: u16,
    },
    /// A program for UEFI firmware that is no kernel by itself.
    #[error("it is an {subsystem} for {machine}, which needs a firmware to run it")]
    EfiProgram {
        /// What kind of program.
        subsystem: Subsystem,
        /// What it runs on.
        machine: Machine,
    },
    /// A kernel with its command line and initrd in one EFI application.
    #[error(
        "it is a unified kernel image for {machine}: an EFI application, which needs a firmware, with a kernel inside; take that out (\"objcopy --dump-section .linux=FILE\" does) and boot it"
    )]
    UnifiedKernelImage {
        /// What it runs on.
        machine: Machine,
    },
    /// A program of an operating system.
    #[error("it is a program ({subsystem}) for {machine} and no kernel")]
    Program {
        /// What kind of program.
        subsystem: Subsystem,
        /// What it runs on.
        machine: Machine,
    },
}
