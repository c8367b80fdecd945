//! What is wrong with a flattened device tree, and where.

use core::fmt;

/// What is wrong with a flattened device tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlobError {
    /// The byte of the blob that it is about.
    pub offset: usize,
    /// What is wrong there.
    pub kind: BlobErrorKind,
}

/// Kinds of [`BlobError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BlobErrorKind {
    /// It is no device tree.
    Magic {
        /// The four bytes in its place.
        found: u32,
    },
    /// Not supported: a version of the format that is not compatible with version 17.
    Version {
        /// The blob's version.
        version: u32,
        /// The oldest version that it is compatible with.
        last_comp_version: u32,
    },
    /// Not supported: longer than any kernel takes.
    TooLong {
        /// The length that the header gives.
        found: usize,
        /// The longest possible.
        max: usize,
    },
    /// The bytes end before something does.
    Truncated {
        /// What that is.
        what: &'static str,
        /// How many bytes it needs there.
        needed: usize,
        /// How many there are.
        left: usize,
    },
    /// A block that does not begin where it must.
    Misaligned {
        /// The block.
        block: &'static str,
        /// The alignment it needs in bytes.
        align: usize,
    },
    /// A reservation that is empty or reaches past the end of the address space.
    Reservation {
        /// Its address.
        address: u64,
        /// Its size.
        size: u64,
    },
    /// An unknown token.
    Token {
        /// The token.
        found: u32,
    },
    /// Nodes nested too deeply.
    Depth {
        /// How deep they may be.
        max: usize,
    },
    /// A name that is empty, has no end within [`MAX_NAME`](super::MAX_NAME) bytes, or has bytes other than printable ASCII
    /// without space and `/`.
    Name,
    /// A property outside of every node.
    PropertyOutside,
    /// A property behind a child of its node.
    PropertyAfterChild,
    /// A property that its node has already.
    PropertyTwice,
    /// A node whose parent has a child of that name already.
    NodeTwice,
    /// The end of a node that did not begin.
    StrayEnd,
    /// The structure block ends inside of a node, or before the root.
    Unfinished,
    /// Something follows the end of the root, or of the structure block.
    Trailing,
}

impl BlobErrorKind {
    /// Whether the blob keeps the rules of its format but needs something this crate does not do.
    #[must_use]
    pub const fn is_unsupported(self) -> bool {
        matches!(self, Self::Version { .. } | Self::TooLong { .. })
    }
}

impl fmt::Display for BlobError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at byte {:#x} of the device tree: ", self.offset)?;
        match self.kind {
            BlobErrorKind::Magic { found } => {
                write!(f, "expected the magic number 0xd00dfeed, found {found:#010x}")
            }
            BlobErrorKind::Version {
                version,
                last_comp_version,
            } => write!(
                f,
                "version {version}, compatible back to {last_comp_version}, is not supported, only 17 is"
            ),
            BlobErrorKind::TooLong { found, max } => {
                write!(
                    f,
                    "a length of {found:#x} bytes is not supported, at most {max:#x} is"
                )
            }
            BlobErrorKind::Truncated { what, needed, left } => {
                write!(
                    f,
                    "the {what} needs {needed:#x} bytes, but only {left:#x} are left"
                )
            }
            BlobErrorKind::Misaligned { block, align } => {
                write!(f, "the {block} must begin at a multiple of {align} bytes")
            }
            BlobErrorKind::Reservation { address, size } => {
                write!(
                    f,
                    "a reservation of {size:#x} bytes at {address:#x} makes no sense"
                )
            }
            BlobErrorKind::Token { found } => write!(f, "unknown token {found:#x}"),
            BlobErrorKind::Depth { max } => write!(f, "nodes are nested deeper than {max}"),
            BlobErrorKind::Name => write!(
                f,
                "a name is empty, has no end within {} bytes, or has bytes that names cannot have",
                super::MAX_NAME
            ),
            BlobErrorKind::PropertyOutside => write!(f, "a property outside of every node"),
            BlobErrorKind::PropertyAfterChild => write!(f, "a property behind a child of its node"),
            BlobErrorKind::PropertyTwice => write!(f, "a property that its node has already"),
            BlobErrorKind::NodeTwice => write!(f, "a node whose parent has a child of that name already"),
            BlobErrorKind::StrayEnd => write!(f, "the end of a node that did not begin"),
            BlobErrorKind::Unfinished => write!(f, "the structure ends inside of a node or without a root"),
            BlobErrorKind::Trailing => write!(f, "something follows the end of the tree"),
        }
    }
}

impl core::error::Error for BlobError {}
