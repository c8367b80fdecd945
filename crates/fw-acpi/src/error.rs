//! Errors.

use core::fmt;

use boot_core::MemoryError;

/// Error of ACPI tables.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AcpiError {
    /// There is no root pointer in the area of the BIOS.
    #[error("there is no RSDP between 0xe0000 and 0xfffff")]
    NoRsdp,
    /// Memory with a structure cannot be read.
    #[error("{what} at {addr:#x} cannot be read")]
    Unreadable {
        /// The structure.
        what: Signature,
        /// Its address.
        addr: u64,
        /// Cause.
        source: MemoryError,
    },
    /// A structure is malformed.
    #[error("{what} at {addr:#x}: {source}")]
    Malformed {
        /// The structure.
        what: Signature,
        /// Its address.
        addr: u64,
        /// Its defect.
        source: TableError,
    },
}

/// Defect of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TableError {
    /// Another signature.
    #[error("it has the signature {0}")]
    Signature(Signature),
    /// The length is outside its range.
    #[error("its length is {found:#x}, expected {min:#x} to {max:#x}")]
    Length {
        /// The length in bytes.
        found: u32,
        /// Smallest length in bytes.
        min: u32,
        /// Largest length in bytes.
        max: u32,
    },
    /// The bytes do not add up to zero.
    #[error("its bytes add up to {found:#x}, expected 0")]
    Checksum {
        /// The sum.
        found: u8,
    },
}

/// Signature of a table, such as `FACP`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Signature(pub [u8; 4]);

impl Signature {
    /// Root pointer; its own signature has eight characters.
    pub const RSDP: Self = Self(*b"RSDP");
    /// Table of 32-bit addresses.
    pub const RSDT: Self = Self(*b"RSDT");
    /// Table of 64-bit addresses.
    pub const XSDT: Self = Self(*b"XSDT");
    /// FADT.
    pub const FADT: Self = Self(*b"FACP");
    /// Table with definitions in AML, which the FADT refers to.
    pub const DSDT: Self = Self(*b"DSDT");
    /// Further tables with definitions in AML.
    pub const SSDT: Self = Self(*b"SSDT");
}

impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.escape_ascii())
    }
}

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}
