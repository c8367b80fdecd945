//! A FAT file system.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use core::fmt;
use core::ops::ControlFlow;

use boot_core::{ByteSource, SizedSource, SourceRange};
use disk::fs::components;
use disk::{
    Attributes, DirEntry, DirPosition, ExtentSource, Extents, FileSystem, FsError, FsInfo, Metadata, Node,
    NodeId, NodeKind,
};

use crate::chain::Chain;
use crate::directory::{self, Entry};
use crate::error::FatError;
use crate::geometry::{Geometry, Root};
use crate::table::Table;

/// A read-only FAT12, FAT16 or FAT32 file system on a partition.
///
/// Names are compared without regard to case; a file is found by its long and by its short name. Blocks of the FAT stay in memory, at most
/// 512 KiB. The chain of a file is read when it is opened, and reads of the file are one read of the source for each fragment.
pub struct FatFs<S> {
    source: S,
    volume: Volume,
}

/// The bytes of a file.
pub type FatFile<S> = ExtentSource<S>;

impl<S: ByteSource> FatFs<S> {
    /// Reads the boot sector and the label.
    ///
    /// # Errors
    ///
    /// [`FatError`] if `source` cannot be read, is not a FAT file system, or is malformed. [`FatError::NotFat`] tells other
    /// file systems from broken ones.
    pub fn new(source: S) -> Result<Self, FatError> {
        let volume = Volume::read(&source)?;
        Ok(Self { source, volume })
    }

    /// The layout of the volume.
    pub const fn geometry(&self) -> &Geometry {
        &self.volume.geometry
    }

    /// The partition.
    pub const fn source(&self) -> &S {
        &self.source
    }

    /// The bytes of a file, independent of the lifetime of the file system: for sources that are references or `Rc`s.
    ///
    /// # Errors
    ///
    /// Those of [`FileSystem::open`].
    pub fn open_file(&self, file: &Node) -> Result<FatFile<S>, FsError>
    where
        S: Clone,
    {
        let extents = self.volume.file_extents(&self.source, file)?;
        Ok(ExtentSource::new(self.source.clone(), extents))
    }
}

impl<S: ByteSource> FileSystem for FatFs<S> {
    fn info(&self) -> &FsInfo {
        &self.volume.info
    }

    fn root(&self) -> Node {
        self.volume.root()
    }

    fn lookup(&self, path: &str) -> Result<Option<Node>, FsError> {
        self.volume.lookup(&self.source, path)
    }

    fn read_dir(
        &self,
        directory: &Node,
        from: DirPosition,
        visit: &mut dyn FnMut(DirEntry<'_>) -> ControlFlow<()>,
    ) -> Result<(), FsError> {
        self.volume.read_dir(&self.source, directory, from, visit)
    }

    fn open<'a>(&'a self, file: &Node) -> Result<Box<dyn ByteSource + 'a>, FsError> {
        let extents = self.volume.file_extents(&self.source, file)?;
        Ok(Box::new(ExtentSource::new(&self.source, extents)))
    }
}

/// What is known about a file system: everything but its source, so that the code exists once for all kinds of sources.
struct Volume {
    geometry: Geometry,
    table: Table,
    info: FsInfo,
}

impl Volume {
    fn read(source: &dyn ByteSource) -> Result<Self, FatError> {
        let geometry = Geometry::read(&SizedSource::new(source)?)?;
        let mut info = FsInfo::new(geometry.kind.name(), geometry.cluster_size, geometry.volume_len);
        info.uuid = geometry
            .volume_id
            .map(|id| format!("{:04X}-{:04X}", id >> 16, id & 0xffff));
        let mut volume = Self {
            geometry,
            table: Table::default(),
            info,
        };
        let label = volume.root_label(source)?;
        volume.info.label = label.or_else(|| volume.geometry.label.clone());
        Ok(volume)
    }

    fn root(&self) -> Node {
        let first = match self.geometry.root {
            Root::Fixed { .. } => 0,
            Root::Cluster(first) => first,
        };
        let mut metadata = Metadata::default();
        metadata.attributes = Attributes::DIRECTORY;
        Node {
            kind: NodeKind::Directory,
            metadata,
            id: NodeId(0, first.into()),
        }
    }

    fn lookup(&self, source: &dyn ByteSource, path: &str) -> Result<Option<Node>, FsError> {
        let mut node = self.root();
        let mut parent = "";
        for component in components(path)? {
            if node.kind != NodeKind::Directory {
                return Err(FsError::NotADirectory {
                    component: Some(parent.into()),
                });
            }
            match self.find(source, &node, component)? {
                Some(found) => node = found,
                None => return Ok(None),
            }
            parent = component;
        }
        Ok(Some(node))
    }

    fn read_dir(
        &self,
        source: &dyn ByteSource,
        directory: &Node,
        from: DirPosition,
        visit: &mut dyn FnMut(DirEntry<'_>) -> ControlFlow<()>,
    ) -> Result<(), FsError> {
        if directory.kind != NodeKind::Directory {
            return Err(FsError::NotADirectory { component: None });
        }
        let extents = self.directory_extents(source, directory)?;
        directory::for_each(source, &self.geometry, &extents, from, &mut |entry| match entry {
            Entry::File(file) => visit(DirEntry::new(file.name(), file.node.clone(), file.next)),
            Entry::Label(_) => ControlFlow::Continue(()),
        })?;
        Ok(())
    }

    /// The label in the root directory.
    fn root_label(&self, source: &dyn ByteSource) -> Result<Option<String>, FatError> {
        let extents = self.directory_extents(source, &self.root())?;
        let mut label = None;
        directory::for_each(
            source,
            &self.geometry,
            &extents,
            DirPosition::START,
            &mut |entry| match entry {
                Entry::Label(found) => {
                    label = Some(found);
                    ControlFlow::Break(())
                }
                Entry::File(_) => ControlFlow::Continue(()),
            },
        )?;
        Ok(label)
    }

    /// The chain of a node.
    fn chain(node: &Node) -> Chain {
        let NodeId(entry, first) = node.id;
        Chain {
            entry: Some(entry).filter(|entry| *entry != 0),
            // A number of another file system is none of the volume.
            first: u32::try_from(first).unwrap_or(u32::MAX),
        }
    }

    fn file_extents(&self, source: &dyn ByteSource, file: &Node) -> Result<Extents, FsError> {
        if file.kind != NodeKind::File {
            return Err(FsError::NotAFile);
        }
        let chain = Self::chain(file);
        Ok(chain.file(source, &self.geometry, &self.table, file.metadata.len)?)
    }

    fn directory_extents(&self, source: &dyn ByteSource, node: &Node) -> Result<Extents, FatError> {
        let chain = Self::chain(node);
        match self.geometry.root {
            Root::Fixed { offset, len } if chain.entry.is_none() => {
                let mut extents = Extents::new();
                // The geometry proves that the root directory is inside the volume.
                if let Some(range) = SourceRange::new(offset, len.into()) {
                    let _ = extents.push(range);
                }
                Ok(extents)
            }
            _ => chain.directory(source, &self.geometry, &self.table),
        }
    }

    /// The entry of a directory with this name.
    fn find(&self, source: &dyn ByteSource, directory: &Node, name: &str) -> Result<Option<Node>, FatError> {
        let extents = self.directory_extents(source, directory)?;
        let mut found = None;
        directory::for_each(
            source,
            &self.geometry,
            &extents,
            DirPosition::START,
            &mut |entry| match entry {
                Entry::File(file) if file.is_called(name) => {
                    found = Some(file.node);
                    ControlFlow::Break(())
                }
                _ => ControlFlow::Continue(()),
            },
        )?;
        Ok(found)
    }
}

impl<S> fmt::Debug for FatFs<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FatFs")
            .field("geometry", &self.volume.geometry)
            .field("info", &self.volume.info)
            .finish_non_exhaustive()
    }
}
