//! Errors of [`HostMapping`](crate::HostMapping).

use std::io;
use std::ops::Range;

/// Failure of an operation on a [`HostMapping`](crate::HostMapping). Ranges and offsets are bytes from the start of the mapping.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MappingError {
    /// A range does not consist of whole pages, is empty where it must not be, or exceeds `isize::MAX`.
    #[error(
        "{len:#x} bytes are not a number of whole pages of {page_size:#x} bytes that this process can map"
    )]
    Length {
        /// Length in bytes.
        len: usize,
        /// Page size of the host in bytes.
        page_size: usize,
    },
    /// A part is empty or ends past the end of the mapping.
    #[error("{range:#x?} is not a part of a mapping of {len:#x} bytes")]
    Range {
        /// The range.
        range: Range<usize>,
        /// Length of the mapping in bytes.
        len: usize,
    },
    /// A part would overlap another one.
    #[error("the part at {range:#x?} would overlap the part at {other:#x?}")]
    Overlap {
        /// The new part.
        range: Range<usize>,
        /// The other one.
        other: Range<usize>,
    },
    /// A part would end past the end of its file.
    #[error("{len:#x} bytes from {offset:#x} on are not in a file of {file_len:#x} bytes")]
    FileRange {
        /// Offset in the file in bytes.
        offset: usize,
        /// Length of the part in bytes.
        len: usize,
        /// Length of the file in bytes.
        file_len: usize,
    },
    /// The host cannot map a part.
    #[error("the host cannot map {len:#x} bytes at offset {offset:#x}")]
    Map {
        /// Offset of the part.
        offset: usize,
        /// Length of the part in bytes.
        len: usize,
        /// The error of the host.
        source: io::Error,
    },
    /// A byte has no memory, or memory that does not allow the access.
    #[error("the byte at offset {offset:#x} does not allow this access of the host")]
    NoAccess {
        /// Offset of the first such byte.
        offset: usize,
    },
    /// A number is not at a multiple of its size.
    #[error("the offset {offset:#x} is not a multiple of {align}")]
    Misaligned {
        /// Offset of the number.
        offset: usize,
        /// What it has to be a multiple of.
        align: usize,
    },
    /// A byte belongs to an [`ExclusiveBytes`](crate::ExclusiveBytes).
    #[error("the bytes {range:#x?} are not accessible: {claim:#x?} belong to one owner")]
    Claimed {
        /// The bytes.
        range: Range<usize>,
        /// Those with an owner.
        claim: Range<usize>,
    },
    /// The host cannot drop pages.
    #[error("the host cannot drop the pages at {range:#x?}")]
    DontNeed {
        /// The pages.
        range: Range<usize>,
        /// The error of the host.
        source: io::Error,
    },
}
