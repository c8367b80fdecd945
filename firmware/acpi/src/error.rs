//! Errors of the tables.

use boot_core::MemoryError;

/// Why the tables cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AcpiError {
    /// Memory cannot be read.
    #[error("the {what} at {addr:#x} cannot be read")]
    Read {
        /// What is there.
        what: &'static str,
        /// Its address.
        addr: u64,
        /// Cause.
        source: MemoryError,
    },
    /// Another signature.
    #[error("the {what} at {addr:#x} has the signature {found:02x?}")]
    Signature {
        /// What is expected.
        what: &'static str,
        /// Its address.
        addr: u64,
        /// The first bytes.
        found: [u8; 4],
    },
    /// A checksum is wrong.
    #[error("the bytes of the {what} at {addr:#x} add up to {sum:#x}, not to 0")]
    Checksum {
        /// The table.
        what: &'static str,
        /// Its address.
        addr: u64,
        /// The sum modulo 256.
        sum: u8,
    },
    /// A length is impossible.
    #[error("the {what} at {addr:#x} has {len} bytes, expected {min} to {max}")]
    Length {
        /// The table.
        what: &'static str,
        /// Its address.
        addr: u64,
        /// The length.
        len: u64,
        /// Least length.
        min: u64,
        /// Largest length.
        max: u64,
    },
    /// There is no FADT.
    #[error("there is no FADT")]
    NoFadt,
}
