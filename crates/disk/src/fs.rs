//! The interface of file systems.
//!
//! A [`FileSystem`] finds files by path and reads directories and files; it does not write. Everything on a disk may be
//! hostile: each method ends after a bounded number of reads with a result or an error, whatever the disk has.

mod error;
mod path;
mod time;

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::ops::ControlFlow;

use boot_core::{ByteSource, SizedSource};

pub use error::FsError;
pub use path::{MAX_PATH_LEN, PathError, components};
pub use time::Timestamp;

/// A read-only file system on a partition.
///
/// Paths begin at the root and have `/` between their components; a `/` at the start or end, and empty components, have no
/// meaning. [`components`] has the rules. Whether names differ by case is a property of the file system.
pub trait FileSystem {
    /// Properties of the file system.
    fn info(&self) -> &FsInfo;

    /// The root directory.
    fn root(&self) -> Node;

    /// The file or directory at a path; `None` if it does not exist. The path `/` is the root directory.
    ///
    /// # Errors
    ///
    /// [`FsError`] if the path violates the rules, a component in its middle is a file, or the file system is malformed or
    /// cannot be read.
    fn lookup(&self, path: &str) -> Result<Option<Node>, FsError>;

    /// Calls `visit` for the entries of a directory, in the order of the disk and without `.` and `..`, from a position on, until
    /// `visit` breaks or the directory ends.
    ///
    /// # Errors
    ///
    /// [`FsError`] if the node is not a directory of this file system, or the directory is malformed or cannot be read.
    fn read_dir(
        &self,
        directory: &Node,
        from: DirPosition,
        visit: &mut dyn FnMut(DirEntry<'_>) -> ControlFlow<()>,
    ) -> Result<(), FsError>;

    /// The bytes of a file.
    ///
    /// # Errors
    ///
    /// [`FsError`] if the node is not a file of this file system, or its list of blocks is malformed or cannot be read.
    fn open<'a>(&'a self, file: &Node) -> Result<Box<dyn ByteSource + 'a>, FsError>;

    /// Reads a whole file of at most `max_len` bytes; `None` if it does not exist.
    ///
    /// # Errors
    ///
    /// The errors of [`lookup`](Self::lookup) and [`open`](Self::open), [`FsError::TooLarge`] and [`FsError::Read`].
    fn read_file(&self, path: &str, max_len: usize) -> Result<Option<Vec<u8>>, FsError> {
        let Some(node) = self.lookup(path)? else {
            return Ok(None);
        };
        let file = self.open(&node)?;
        let source = SizedSource::new(&*file)?;
        let len = usize::try_from(source.len()).ok().filter(|len| *len <= max_len);
        let len = len.ok_or(FsError::TooLarge {
            len: source.len(),
            max_len,
        })?;
        Ok(Some(source.read_vec(0, len)?))
    }

    /// Collects the entries of the directory at a path, at most `max_entries`; `None` if it does not exist.
    ///
    /// # Errors
    ///
    /// The errors of [`lookup`](Self::lookup) and [`read_dir`](Self::read_dir).
    fn list(&self, path: &str, max_entries: usize) -> Result<Option<Vec<(String, Node)>>, FsError> {
        let Some(directory) = self.lookup(path)? else {
            return Ok(None);
        };
        let mut entries = Vec::new();
        if max_entries > 0 {
            self.read_dir(&directory, DirPosition::START, &mut |entry| {
                entries.push((String::from(entry.name), entry.node));
                if entries.len() < max_entries {
                    ControlFlow::Continue(())
                } else {
                    ControlFlow::Break(())
                }
            })?;
        }
        Ok(Some(entries))
    }
}

/// Properties of a file system.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FsInfo {
    /// Name of the format, such as `FAT32` or `ext4`.
    pub format: &'static str,
    /// Label of the volume, if it has one.
    pub label: Option<String>,
    /// Identifier of the volume as `blkid` and `/dev/disk/by-uuid` print it, such as `1234-ABCD`; if it has one.
    pub uuid: Option<String>,
    /// Unit of allocation in bytes: cluster or block.
    pub unit: u32,
    /// Capacity in bytes.
    pub capacity: u64,
}

impl FsInfo {
    /// A file system without label and identifier.
    #[must_use]
    pub const fn new(format: &'static str, unit: u32, capacity: u64) -> Self {
        Self {
            format,
            label: None,
            uuid: None,
            unit,
            capacity,
        }
    }
}

/// A file or directory of a file system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Whether it is a file or a directory.
    pub kind: NodeKind,
    /// Length, times and attributes.
    pub metadata: Metadata,
    /// Place in its file system.
    pub id: NodeId,
}

impl Node {
    /// Whether it is a directory.
    #[must_use]
    pub fn is_directory(&self) -> bool {
        self.kind == NodeKind::Directory
    }

    /// Whether it is a file.
    #[must_use]
    pub fn is_file(&self) -> bool {
        self.kind == NodeKind::File
    }
}

/// Kind of a [`Node`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum NodeKind {
    /// A directory.
    Directory,
    /// A regular file.
    File,
    /// What is neither: a device, a socket, a symbolic link that leads nowhere.
    Other,
}

/// Place of a [`Node`] in its file system. The file system that made it gives the numbers their meaning, and checks them when
/// they come back. Nodes with equal numbers are the same file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub u64, pub u64);

/// Properties of a [`Node`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Metadata {
    /// Length in bytes; 0 for directories.
    pub len: u64,
    /// Attributes.
    pub attributes: Attributes,
    /// Time of creation.
    pub created: Option<Timestamp>,
    /// Time of the last access; some file systems have the date only.
    pub accessed: Option<Timestamp>,
    /// Time of the last modification.
    pub modified: Option<Timestamp>,
}

bitflags::bitflags! {
    /// Attributes of a [`Node`]. The values are those of the FAT specification, and of `EFI_FILE_INFO.Attribute`
    /// (UEFI specification 2.10, section 13.5.16).
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub struct Attributes: u8 {
        /// Not to be written.
        const READ_ONLY = 0x01;
        /// Not listed by default.
        const HIDDEN = 0x02;
        /// Part of the operating system.
        const SYSTEM = 0x04;
        /// A directory.
        const DIRECTORY = 0x10;
        /// Changed since the last backup.
        const ARCHIVE = 0x20;
    }
}

/// An entry of a directory.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct DirEntry<'a> {
    /// Name without directories.
    pub name: &'a str,
    /// The file or directory.
    pub node: Node,
    /// Position after the entry.
    pub next: DirPosition,
}

impl<'a> DirEntry<'a> {
    /// An entry, for implementations of [`FileSystem`].
    #[must_use]
    pub const fn new(name: &'a str, node: Node, next: DirPosition) -> Self {
        Self { name, node, next }
    }
}

/// A position between two entries of a directory. Its number belongs to the file system; a number that is none of its own gives
/// other entries or an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DirPosition(pub u64);

impl DirPosition {
    /// Before the first entry.
    pub const START: Self = Self(0);
}
