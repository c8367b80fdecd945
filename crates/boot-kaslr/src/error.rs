//! Errors of relocations.

use crate::kind::Kind;

/// A relocation table that is malformed, or that is not that of the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RelocationsError {
    /// The length of the table is not a multiple of 4, the size of an entry.
    #[error("the relocation table has {len} bytes, which is not a multiple of 4")]
    Length {
        /// The length in bytes.
        len: usize,
    },
    /// The table does not start with a zero.
    #[error("the relocation table starts with {found:#x}, expected the zero before its 64-bit places")]
    Start {
        /// The first entry; zero for an empty table.
        found: u32,
    },
    /// The number of lists is not that of a table.
    #[error("the relocation table has {found} lists, expected 2 or 3")]
    Lists {
        /// Number of zeros, one before each list.
        found: usize,
    },
    /// A place is not in the part of a segment that is in the file.
    #[error(
        "entry {index} of the {kind} relocations is {addr:#x}: the kernel has no bytes of its file there"
    )]
    Place {
        /// The list.
        kind: Kind,
        /// Index in the list.
        index: usize,
        /// The virtual link address.
        addr: u64,
    },
    /// The image of the kernel is that of another file.
    #[error("the image was parsed from {expected} bytes, but the kernel has {found}")]
    OtherFile {
        /// Length of the file that the image was parsed from.
        expected: u64,
        /// Length of the bytes that are to be relocated.
        found: usize,
    },
}

/// Relative relocations that cannot be applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RelativeError {
    /// The image of the kernel is that of another file.
    #[error("the image was parsed from {expected} bytes, but the kernel has {found}")]
    OtherFile {
        /// Length of the file that the image was parsed from.
        expected: u64,
        /// Length of the bytes that are to be relocated.
        found: usize,
    },
    /// `DT_RELAENT` is not the length of an entry.
    #[error("DT_RELAENT is {found}, expected 24")]
    EntryLen {
        /// The value.
        found: u64,
    },
    /// The table is not in the part of a segment that is in the file.
    #[error("the table DT_RELA at {addr:#x}, {len} bytes, is not in the file")]
    Table {
        /// Virtual address of the table.
        addr: u64,
        /// Its length in bytes.
        len: u64,
    },
    /// An entry is not a relative relocation: it needs a linker.
    #[error("entry {index} of DT_RELA has type {kind} with symbol {symbol}, expected a relative relocation")]
    Type {
        /// Index in the table.
        index: u64,
        /// The symbol in `r_info`.
        symbol: u64,
        /// The type in `r_info`.
        kind: u64,
    },
    /// A place is not in the part of a segment that is in the file.
    #[error("entry {index} of DT_RELA is for {addr:#x}: the kernel has no bytes of its file there")]
    Place {
        /// Index in the table.
        index: u64,
        /// The virtual link address.
        addr: u64,
    },
    /// A place is in the table itself.
    #[error("entry {index} of DT_RELA is for {addr:#x}, which is in the table itself")]
    InTable {
        /// Index in the table.
        index: u64,
        /// The virtual link address.
        addr: u64,
    },
}
