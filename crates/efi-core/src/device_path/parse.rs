//! Validated device paths.

use core::fmt;

use super::node::Node;
use crate::Status;

/// Length of a node's header: type, subtype, length.
pub(super) const HEADER: usize = 4;
/// Type of nodes that end an instance or the path.
pub(super) const END: u8 = 0x7f;
pub(super) const END_ENTIRE: u8 = 0xff;
pub(super) const END_INSTANCE: u8 = 0x01;

/// Longest device path that is accepted, in bytes.
pub const MAX_LEN: usize = 16 * 1024;

/// Reason why bytes are no device path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MalformedKind {
    /// The bytes end before the end node.
    Truncated {
        /// Bytes that the node has at least.
        needed: usize,
        /// Bytes that there are.
        available: usize,
    },
    /// The length of a node is less than that of its header, or the length of an end node is not 4.
    Length {
        /// The length in the node.
        found: usize,
    },
    /// The path is longer than [`MAX_LEN`].
    TooLong,
}

/// Bytes that are no device path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Malformed {
    /// Offset of the node in the path.
    pub offset: usize,
    /// What is wrong.
    pub kind: MalformedKind,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "device path node at byte {}: ", self.offset)?;
        match self.kind {
            MalformedKind::Truncated { needed, available } => {
                write!(
                    f,
                    "{needed} bytes needed, {available} available before the end of the path"
                )
            }
            MalformedKind::Length { found } => write!(f, "invalid length {found}"),
            MalformedKind::TooLong => write!(f, "the path is longer than {MAX_LEN} bytes"),
        }
    }
}

impl core::error::Error for Malformed {}

impl From<Malformed> for Status {
    fn from(_: Malformed) -> Self {
        Self::INVALID_PARAMETER
    }
}

/// Header of a node, for readers that find out how long a path is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Length of the node in bytes, at least 4.
    pub len: usize,
    /// True for the node that ends the path.
    pub is_end: bool,
    /// True for the node that ends an instance.
    pub is_end_of_instance: bool,
}

impl Header {
    /// Reads the header of the node at this offset of its path.
    ///
    /// # Errors
    ///
    /// [`MalformedKind::Length`] or [`MalformedKind::TooLong`].
    pub fn read(offset: usize, bytes: [u8; HEADER]) -> Result<Self, Malformed> {
        let [kind, subtype, low, high] = bytes;
        let len = usize::from(u16::from_le_bytes([low, high]));
        let is_end = kind == END && subtype == END_ENTIRE;
        let is_end_of_instance = kind == END && subtype == END_INSTANCE;
        if len < HEADER || ((is_end || is_end_of_instance) && len != HEADER) {
            return Err(Malformed {
                offset,
                kind: MalformedKind::Length { found: len },
            });
        }
        if offset.saturating_add(len) > MAX_LEN {
            return Err(Malformed {
                offset,
                kind: MalformedKind::TooLong,
            });
        }
        Ok(Self {
            len,
            is_end,
            is_end_of_instance,
        })
    }
}

/// A device path: nodes and the end node. The headers are valid; data of nodes may be too short for their type.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct DevicePath<'a>(&'a [u8]);

/// The path without nodes.
const EMPTY: &[u8] = &[END, END_ENTIRE, 4, 0];

impl<'a> DevicePath<'a> {
    /// The path without nodes.
    pub const EMPTY: DevicePath<'static> = DevicePath(EMPTY);

    /// The device path at the start of the bytes; what follows its end node is ignored.
    ///
    /// # Errors
    ///
    /// [`Malformed`] with the offset of the first node that is invalid.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let mut offset = 0_usize;
        loop {
            let rest = bytes.get(offset..).unwrap_or(&[]);
            let truncated = |needed| {
                let available = rest.len();
                Malformed {
                    offset,
                    kind: MalformedKind::Truncated { needed, available },
                }
            };
            let header = rest.first_chunk::<HEADER>().ok_or_else(|| truncated(HEADER))?;
            let header = Header::read(offset, *header)?;
            if rest.len() < header.len {
                return Err(truncated(header.len));
            }
            offset = offset.saturating_add(header.len);
            if header.is_end {
                return Ok(Self(bytes.get(..offset).unwrap_or(EMPTY)));
            }
        }
    }

    /// The bytes with the end node.
    #[must_use]
    pub const fn as_bytes(self) -> &'a [u8] {
        self.0
    }

    /// The bytes without the end node.
    #[must_use]
    pub fn without_end(self) -> &'a [u8] {
        self.0.get(..self.0.len().saturating_sub(HEADER)).unwrap_or(&[])
    }

    /// True for a path without nodes.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.0.len() <= HEADER
    }

    /// True if the path has more than one instance.
    #[must_use]
    pub fn has_instances(self) -> bool {
        self.nodes().any(|node| node.kind == END)
    }

    /// The nodes without the end node; nodes that end an instance are among them.
    #[must_use]
    pub const fn nodes(self) -> Nodes<'a> {
        Nodes(self.0)
    }

    /// The rest of the path after all nodes of another one, or `None` if that is no prefix or has several instances.
    #[must_use]
    pub fn strip_prefix(self, prefix: DevicePath<'_>) -> Option<Self> {
        if prefix.has_instances() {
            return None;
        }
        // Equal bytes have equal lengths of nodes, so the rest begins with a node.
        self.0.strip_prefix(prefix.without_end()).map(Self)
    }

    /// The rest of the path from the first node on for which the test is true.
    #[must_use]
    pub fn from_node(self, test: impl Fn(&Node<'a>) -> bool) -> Option<Self> {
        let mut nodes = self.nodes();
        loop {
            let rest = nodes.0;
            if test(&nodes.next()?) {
                return Some(Self(rest));
            }
        }
    }

    /// The file path: text of the trailing nodes of the type file path, joined by one backslash. Empty without such nodes.
    #[must_use]
    pub fn file_path(self) -> alloc::vec::Vec<u16> {
        let mut path = alloc::vec::Vec::new();
        for node in self.nodes() {
            let Some(name) = node.file_path() else {
                path.clear();
                continue;
            };
            let backslash = u16::from(b'\\');
            let mut name = name.peekable();
            match (path.last() == Some(&backslash), name.peek() == Some(&backslash)) {
                (true, true) => drop(name.next()),
                (false, false) if !path.is_empty() => path.push(backslash),
                _ => (),
            }
            path.extend(name);
        }
        path
    }
}

impl fmt::Debug for DevicePath<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DevicePath({})", self.to_text())
    }
}

/// Iterator over the nodes of a path.
#[derive(Clone, Debug)]
pub struct Nodes<'a>(&'a [u8]);

impl<'a> Iterator for Nodes<'a> {
    type Item = Node<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        let header = self.0.first_chunk::<HEADER>()?;
        let [kind, subtype, low, high] = *header;
        if kind == END && subtype == END_ENTIRE {
            return None;
        }
        let len = usize::from(u16::from_le_bytes([low, high])).max(HEADER);
        let (node, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(Node {
            kind,
            subtype,
            data: node.get(HEADER..)?,
        })
    }
}
