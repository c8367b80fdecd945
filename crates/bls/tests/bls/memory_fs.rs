//! A file system in memory.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::ops::ControlFlow;

use disk::{
    ByteSource, DirEntry, DirPosition, FileSystem, FsError, FsInfo, Metadata, Node, NodeId, NodeKind,
    ReadError, ReadErrorKind,
};

/// Files by their paths, and their directories. Names differ by case.
#[derive(Clone, Debug)]
pub(crate) struct MemoryFs {
    info: FsInfo,
    /// Paths without `/` at the start. A directory has no content.
    nodes: BTreeMap<String, Option<Vec<u8>>>,
    /// Number of operations before all fail.
    operations: Cell<u32>,
}

impl MemoryFs {
    pub(crate) fn new() -> Self {
        Self {
            info: FsInfo::new("memory", 512, 1 << 20),
            nodes: BTreeMap::new(),
            operations: Cell::new(u32::MAX),
        }
    }

    /// The same with a file, and the directories that it is in.
    pub(crate) fn file(mut self, path: &str, content: impl AsRef<[u8]>) -> Self {
        let path = path.trim_start_matches('/');
        for (at, _) in path.match_indices('/') {
            self.nodes.entry(path[..at].to_owned()).or_insert(None);
        }
        self.nodes
            .insert(path.to_owned(), Some(content.as_ref().to_vec()));
        self
    }

    /// The same, but every operation after the first `operations` fails.
    pub(crate) fn failing_after(self, operations: u32) -> Self {
        self.operations.set(operations);
        self
    }

    fn operation(&self) -> Result<(), ReadError> {
        let left = self.operations.get().checked_sub(1);
        let left =
            left.ok_or_else(|| ReadError::new(0, 512, ReadErrorKind::Source("a broken disk".into())))?;
        self.operations.set(left);
        Ok(())
    }

    fn node(&self, index: usize) -> Node {
        let content = self
            .nodes
            .values()
            .nth(index)
            .expect("a node of this file system");
        let mut metadata = Metadata::default();
        metadata.len = content.as_ref().map_or(0, |content| content.len() as u64);
        Node {
            kind: if content.is_some() {
                NodeKind::File
            } else {
                NodeKind::Directory
            },
            metadata,
            id: NodeId(index as u64, 0),
        }
    }
}

/// A file that fails like its file system.
struct MemoryFile<'a> {
    fs: &'a MemoryFs,
    content: &'a [u8],
}

impl ByteSource for MemoryFile<'_> {
    fn len(&self) -> Result<u64, ReadError> {
        Ok(self.content.len() as u64)
    }

    fn read_exact_at(&self, offset: u64, buf: &mut [u8]) -> Result<(), ReadError> {
        self.fs.operation()?;
        self.content.read_exact_at(offset, buf)
    }
}

impl FileSystem for MemoryFs {
    fn info(&self) -> &FsInfo {
        &self.info
    }

    fn root(&self) -> Node {
        Node {
            kind: NodeKind::Directory,
            metadata: Metadata::default(),
            id: NodeId(u64::MAX, 0),
        }
    }

    fn lookup(&self, path: &str) -> Result<Option<Node>, FsError> {
        self.operation()?;
        let components: Vec<&str> = disk::fs::components(path)?.collect();
        let path = components.join("/");
        if path.is_empty() {
            return Ok(Some(self.root()));
        }
        let index = self.nodes.keys().position(|known| *known == path);
        Ok(index.map(|index| self.node(index)))
    }

    fn read_dir(
        &self,
        directory: &Node,
        _from: DirPosition,
        visit: &mut dyn FnMut(DirEntry<'_>) -> ControlFlow<()>,
    ) -> Result<(), FsError> {
        self.operation()?;
        let prefix = match directory.id.0 {
            u64::MAX => String::new(),
            index => format!("{}/", self.nodes.keys().nth(index as usize).expect("a directory")),
        };
        for (index, path) in self.nodes.keys().enumerate() {
            let Some(name) = path.strip_prefix(&prefix).filter(|name| !name.contains('/')) else {
                continue;
            };
            if visit(DirEntry::new(name, self.node(index), DirPosition::START)).is_break() {
                break;
            }
        }
        Ok(())
    }

    fn open<'a>(&'a self, file: &Node) -> Result<Box<dyn ByteSource + 'a>, FsError> {
        self.operation()?;
        let content = self.nodes.values().nth(file.id.0 as usize).expect("a file");
        let content = content.as_ref().ok_or(FsError::NotAFile)?;
        Ok(Box::new(MemoryFile { fs: self, content }))
    }
}
