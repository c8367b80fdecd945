//! An ext4 file system.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use core::fmt;
use core::ops::ControlFlow;

use boot_core::{ByteSource, SizedSource};
use disk::fs::components;
use disk::{
    Attributes, DirEntry, DirPosition, ExtentSource, Extents, FileSystem, FsError, FsInfo, Metadata, Node,
    NodeId, NodeKind,
};

use crate::blocks::Blocks;
use crate::error::Ext4Error;
use crate::geometry::{Geometry, ROOT_INODE};
use crate::inode::Inode;
use crate::journal;
use crate::raw::{compat, incompat};
use crate::resolve::Budget;

/// A read-only ext2, ext3 or ext4 file system on a partition.
///
/// A journal that has to be replayed is: the blocks in it stand for those of the volume, which is not written. Symbolic links are followed.
/// Sixteen blocks stay in memory. The extents of a file are read when it is opened, and reads of the file are one read of the source for each
/// fragment.
pub struct Ext4Fs<S> {
    blocks: Blocks<S>,
    info: FsInfo,
}

/// The bytes of a file.
pub type Ext4File<S> = ExtentSource<S>;

impl<S: ByteSource> Ext4Fs<S> {
    /// Reads the superblock, and the journal if it has to be replayed.
    ///
    /// # Errors
    ///
    /// [`Ext4Error`] if `source` cannot be read, is not an ext2, ext3 or ext4 file system, or is malformed. [`Ext4Error::NotExt4`] tells
    /// other file systems from broken ones.
    pub fn new(source: S) -> Result<Self, Ext4Error> {
        let geometry = Geometry::read(&SizedSource::new(&source)?)?;
        let capacity = geometry.block_count.saturating_mul(geometry.block_size.into());
        let format = if geometry.incompat & incompat::EXTENTS != 0 {
            "ext4"
        } else if geometry.compat & compat::HAS_JOURNAL != 0 {
            "ext3"
        } else {
            "ext2"
        };
        let mut info = FsInfo::new(format, geometry.block_size, capacity);
        info.label.clone_from(&geometry.label);
        info.uuid = uuid(geometry.uuid);
        let dirty_journal = geometry.dirty_journal;
        let mut blocks = Blocks::new(source, geometry);
        if let Some(inode) = dirty_journal {
            let overlay = journal::replay(&blocks, inode)?;
            blocks.set_overlay(overlay);
        }
        Ok(Self { blocks, info })
    }

    /// The layout of the volume.
    pub const fn geometry(&self) -> &Geometry {
        &self.blocks.geometry
    }

    /// The partition.
    pub const fn source(&self) -> &S {
        &self.blocks.source
    }

    /// The bytes of a file, independent of the lifetime of the file system: for sources that are references or `Rc`s.
    ///
    /// # Errors
    ///
    /// Those of [`FileSystem::open`].
    pub fn open_file(&self, file: &Node) -> Result<Ext4File<S>, FsError>
    where
        S: Clone,
    {
        let extents = self.file_extents(file)?;
        Ok(ExtentSource::new(self.blocks.source.clone(), extents))
    }

    /// The inode of a node. A number of another file system is none of the volume.
    fn inode(&self, node: &Node) -> Result<Inode, Ext4Error> {
        let NodeId(number, _) = node.id;
        self.blocks.inode(u32::try_from(number).unwrap_or(0))
    }

    fn file_extents(&self, file: &Node) -> Result<Extents, FsError> {
        if file.kind != NodeKind::File {
            return Err(FsError::NotAFile);
        }
        let inode = self.inode(file)?;
        if inode.node().kind != NodeKind::File {
            return Err(FsError::NotAFile);
        }
        Ok(self.blocks.extents(&inode)?)
    }
}

/// The text of an identifier; `None` if it is zero.
fn uuid(bytes: [u8; 16]) -> Option<String> {
    let hex = format!("{:032x}", u128::from_be_bytes(bytes));
    let parts = [
        hex.get(..8)?,
        hex.get(8..12)?,
        hex.get(12..16)?,
        hex.get(16..20)?,
        hex.get(20..)?,
    ];
    (bytes != [0; 16]).then(|| parts.join("-"))
}

impl<S: ByteSource> FileSystem for Ext4Fs<S> {
    fn info(&self) -> &FsInfo {
        &self.info
    }

    fn root(&self) -> Node {
        let mut metadata = Metadata::default();
        metadata.attributes = Attributes::DIRECTORY;
        Node {
            kind: NodeKind::Directory,
            metadata,
            id: NodeId(ROOT_INODE.into(), 0),
        }
    }

    fn lookup(&self, path: &str) -> Result<Option<Node>, FsError> {
        let components = components(path)?;
        if components.clone().next().is_none() {
            return Ok(Some(self.root()));
        }
        self.blocks.lookup(components)
    }

    fn read_dir(
        &self,
        directory: &Node,
        from: DirPosition,
        visit: &mut dyn FnMut(DirEntry<'_>) -> ControlFlow<()>,
    ) -> Result<(), FsError> {
        let not_a_directory = || FsError::NotADirectory { component: None };
        if directory.kind != NodeKind::Directory {
            return Err(not_a_directory());
        }
        let inode = self.inode(directory)?;
        if !inode.is_directory() {
            return Err(not_a_directory());
        }
        let mut budget = Budget::new();
        self.blocks.entries(&inode, from.0, &mut |entry| {
            if matches!(entry.name, b"." | b"..") {
                return Ok(ControlFlow::Continue(()));
            }
            let node = self.blocks.entry_node(&inode, entry.inode, &mut budget)?;
            let name = String::from_utf8_lossy(entry.name);
            Ok(visit(DirEntry::new(&name, node, DirPosition(entry.next))))
        })?;
        Ok(())
    }

    fn open<'a>(&'a self, file: &Node) -> Result<Box<dyn ByteSource + 'a>, FsError> {
        let extents = self.file_extents(file)?;
        Ok(Box::new(ExtentSource::new(&self.blocks.source, extents)))
    }
}

impl<S> fmt::Debug for Ext4Fs<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ext4Fs")
            .field("geometry", &self.blocks.geometry)
            .field("info", &self.info)
            .finish_non_exhaustive()
    }
}
