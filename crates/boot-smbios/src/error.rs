//! Errors of the creation of tables.

use alloc::string::String;

/// Strings that the tables cannot have, or an address where they cannot be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SmbiosError {
    /// A string is empty, or has a control character.
    #[error(
        "the {field} {text:?} is empty or has a control character, which SMBIOS strings cannot; leave it out or write it without"
    )]
    String {
        /// What the string is about.
        field: &'static str,
        /// The string.
        text: String,
    },
    /// The tables are too long.
    #[error("SMBIOS tables of {len} bytes are too long; a machine has {max}")]
    TooLong {
        /// Their length in bytes.
        len: usize,
        /// Their greatest length.
        max: usize,
    },
    /// The address of the tables is not a multiple of 16, or the tables end beyond the address space.
    #[error("SMBIOS tables of {len} bytes cannot be at {addr:#x}: the address must be a multiple of 16")]
    Address {
        /// The address.
        addr: u64,
        /// Length of the tables in bytes.
        len: usize,
    },
    /// No RAM has room for the tables.
    #[error("no RAM has room for {len} bytes of SMBIOS tables")]
    NoRoom {
        /// Length of the tables in bytes.
        len: usize,
    },
}
