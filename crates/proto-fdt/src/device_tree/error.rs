//! Errors of the FDT parser.

use core::fmt;

/// A violation of the flattened device tree format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FdtError {
    /// Offset in bytes from the start of the FDT.
    pub offset: usize,
    /// The violation at that offset.
    pub kind: FdtErrorKind,
}

/// Kinds of [`FdtError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FdtErrorKind {
    /// The magic number is not [`MAGIC`](crate::raw::MAGIC).
    BadMagic {
        /// The value found.
        found: u32,
    },
    /// Not supported: a version that is not compatible with version 17.
    UnsupportedVersion {
        /// Version of the tree.
        version: u32,
        /// Oldest version that the tree is compatible with.
        last_comp_version: u32,
    },
    /// Not supported: the tree is longer than [`MAX_LEN`](super::MAX_LEN).
    TooLarge {
        /// `totalsize` of the header in bytes.
        found: usize,
        /// Largest supported length in bytes.
        max: usize,
    },
    /// A structure extends past the end of the tree or of its block.
    Truncated {
        /// The structure.
        what: &'static str,
        /// Its length in bytes.
        needed: usize,
        /// Bytes left.
        left: usize,
    },
    /// The offset of a block is inside the header or not aligned.
    Misaligned {
        /// The block.
        block: &'static str,
        /// Required alignment in bytes.
        align: usize,
    },
    /// An entry of the memory reservation block is empty, or its range exceeds 64-bit addresses.
    InvalidReservation {
        /// Its address.
        address: u64,
        /// Its size.
        size: u64,
    },
    /// The specification does not define a token of the structure block.
    UnknownToken {
        /// The token.
        found: u32,
    },
    /// Not supported: nodes are nested deeper than [`MAX_DEPTH`](super::MAX_DEPTH).
    TooDeep {
        /// Deepest supported nesting.
        max: usize,
    },
    /// A name is longer than [`MAX_NAME`](super::MAX_NAME) bytes, has no NUL at its end, or contains bytes other than
    /// printable ASCII without space and `/`. Or the name of the root is not empty, or another name is.
    InvalidName,
    /// A property is outside of any node.
    PropertyOutsideNode,
    /// A property follows a child of its node.
    PropertyAfterChild,
    /// A node has two properties of the same name.
    DuplicateProperty,
    /// A node has two children of the same name.
    DuplicateNode,
    /// `FDT_END_NODE` is outside of any node.
    UnexpectedEndNode,
    /// `FDT_END` is inside a node, or the root node is missing.
    UnexpectedEnd,
    /// Data follow the root node or `FDT_END`.
    TrailingData,
}

impl FdtErrorKind {
    /// Whether the error is a limit of this crate: the tree may be well-formed.
    #[must_use]
    pub const fn is_unsupported(self) -> bool {
        matches!(
            self,
            Self::UnsupportedVersion { .. } | Self::TooLarge { .. } | Self::TooDeep { .. }
        )
    }
}

impl fmt::Display for FdtError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at byte {:#x} of the device tree: {}", self.offset, self.kind)
    }
}

impl fmt::Display for FdtErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BadMagic { found } => {
                write!(f, "expected the magic number 0xd00dfeed, found {found:#010x}")
            }
            Self::UnsupportedVersion {
                version,
                last_comp_version,
            } => write!(
                f,
                "version {version}, compatible back to {last_comp_version}, is not supported; expected version 17"
            ),
            Self::TooLarge { found, max } => {
                write!(
                    f,
                    "a device tree of {found:#x} bytes is not supported; expected at most {max:#x}"
                )
            }
            Self::Truncated { what, needed, left } => {
                write!(
                    f,
                    "the {what} needs {needed:#x} bytes, but only {left:#x} are left"
                )
            }
            Self::Misaligned { block, align } => write!(
                f,
                "the {block} must start after the header, at a multiple of {align} bytes"
            ),
            Self::InvalidReservation { address, size } => write!(
                f,
                "the memory reservation of {size:#x} bytes at {address:#x} is empty or exceeds 64-bit addresses"
            ),
            Self::UnknownToken { found } => write!(f, "unknown token {found:#x}"),
            Self::TooDeep { max } => write!(f, "more than {max} levels of nodes are not supported"),
            Self::InvalidName => write!(
                f,
                "invalid name: expected 1 to {} bytes (none for the root node) of printable ASCII without space and `/`, then a NUL",
                super::MAX_NAME
            ),
            Self::PropertyOutsideNode => f.write_str("property outside of any node"),
            Self::PropertyAfterChild => f.write_str("property after a child node of the same node"),
            Self::DuplicateProperty => f.write_str("second property of the same name in one node"),
            Self::DuplicateNode => f.write_str("second child node of the same name in one node"),
            Self::UnexpectedEndNode => f.write_str("FDT_END_NODE without an open node"),
            Self::UnexpectedEnd => f.write_str("FDT_END inside a node or without a root node"),
            Self::TrailingData => f.write_str("data after the root node or after FDT_END"),
        }
    }
}

impl core::error::Error for FdtError {}
