//! Errors of the loader.

use boot_core::{FormatErrorKind, ReadError};

use crate::pe::constants::{Machine, RelocationType, Subsystem};
use crate::pe::error::PeError;
use crate::pe::section_name::SectionName;

/// Error of [`ImageLayout`](super::ImageLayout).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// The file could not be read, or its base relocations are malformed or unsupported.
    #[error(transparent)]
    Pe(#[from] PeError),
    /// The image is PE32. 64-bit firmware runs PE32+.
    #[error("the image is a 32-bit PE32 image for {machine}; only PE32+ can be loaded")]
    Pe32 {
        /// Machine type.
        machine: Machine,
    },
    /// UEFI does not run images of this subsystem.
    #[error("the image is no EFI application or driver, but a program of another kind: {subsystem}")]
    Subsystem {
        /// Subsystem.
        subsystem: Subsystem,
    },
    /// `AddressOfEntryPoint` is zero.
    #[error("the image has no entry point: AddressOfEntryPoint is 0")]
    NoEntryPoint,
    /// The entry point is not in an executable section.
    #[error("the entry point at RVA {entry:#x} is {}", Place(.section))]
    EntryNotExecutable {
        /// RVA of the entry point.
        entry: u32,
        /// Section that contains it; `None` if no section does.
        section: Option<SectionName>,
    },
    /// The memory is smaller than the image.
    #[error("the image needs {need:#x} bytes of memory, but there are {found:#x}")]
    TooSmall {
        /// Length of the memory in bytes.
        found: u64,
        /// `SizeOfImage`.
        need: u32,
    },
    /// The load address is not aligned, or the image would exceed the address space.
    #[error(
        "an image of {size:#x} bytes cannot be loaded at {address:#x}; the address must be a multiple of {alignment:#x} and the end below 2^64"
    )]
    Address {
        /// Load address.
        address: u64,
        /// Required alignment.
        alignment: u32,
        /// `SizeOfImage`.
        size: u32,
    },
    /// The base relocations were stripped, and the load address is not `ImageBase`.
    #[error(
        "the image cannot be loaded at {address:#x}: its base relocations were stripped, so it must be loaded at {required:#x}"
    )]
    RelocationsStripped {
        /// Load address.
        address: u64,
        /// `ImageBase`.
        required: u64,
    },
    /// The relocated address does not fit its field.
    #[error(
        "the {relocation_type} base relocation of the field at RVA {rva:#x} has the result {value:#x}, which exceeds 32 bits; the image must be loaded below 4 GiB"
    )]
    RelocationOverflow {
        /// RVA of the field.
        rva: u32,
        /// Type of the relocation.
        relocation_type: RelocationType,
        /// Relocated address.
        value: u64,
    },
}

impl LoadError {
    /// Category of the error. Errors of the caller's memory and address count as unsupported.
    #[must_use]
    pub const fn kind(&self) -> FormatErrorKind {
        match self {
            Self::Pe(error) => error.kind(),
            Self::NoEntryPoint | Self::EntryNotExecutable { .. } => FormatErrorKind::Malformed,
            _ => FormatErrorKind::Unsupported,
        }
    }
}

impl From<ReadError> for LoadError {
    fn from(error: ReadError) -> Self {
        Self::Pe(error.into())
    }
}

/// Location of an entry point, for messages.
struct Place<'a>(&'a Option<SectionName>);

impl core::fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self.0 {
            Some(name) => write!(f, "in the section \"{name}\", which is not executable"),
            None => f.write_str("in no section"),
        }
    }
}
