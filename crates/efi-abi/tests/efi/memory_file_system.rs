//! A file system in memory.

use std::ops::ControlFlow;

use disk::{
    ByteSource, DirEntry, DirPosition, FileSystem, FsError, FsInfo, Metadata, Node, NodeId, NodeKind,
};

/// Files by their paths; directories are those in paths.
pub(crate) struct MemoryFileSystem {
    info: FsInfo,
    files: Vec<(String, Vec<u8>)>,
}

impl MemoryFileSystem {
    pub(crate) fn new(files: &[(&str, &[u8])]) -> Self {
        let mut info = FsInfo::new("memory", 512, 1 << 20);
        info.label = Some("ESP".to_owned());
        let files = files
            .iter()
            .map(|(path, data)| ((*path).to_owned(), data.to_vec()))
            .collect();
        Self { info, files }
    }

    fn node(&self, path: &str) -> Option<Node> {
        let mut metadata = Metadata::default();
        if let Some(index) = self.files.iter().position(|(file, _)| file == path) {
            metadata.len = self.files[index].1.len() as u64;
            return Some(Node {
                kind: NodeKind::File,
                metadata,
                id: NodeId(index as u64, 1),
            });
        }
        let is_parent =
            |file: &str| path.is_empty() || file.strip_prefix(path).is_some_and(|rest| rest.starts_with('/'));
        let index = self.files.iter().position(|(file, _)| is_parent(file))?;
        let id = NodeId(index as u64, 2 + path.len() as u64);
        Some(Node {
            kind: NodeKind::Directory,
            metadata,
            id,
        })
    }
}

impl FileSystem for MemoryFileSystem {
    fn info(&self) -> &FsInfo {
        &self.info
    }

    fn root(&self) -> Node {
        Node {
            kind: NodeKind::Directory,
            metadata: Metadata::default(),
            id: NodeId(0, 2),
        }
    }

    fn lookup(&self, path: &str) -> Result<Option<Node>, FsError> {
        Ok(self.node(path.trim_matches('/')))
    }

    fn read_dir(
        &self,
        directory: &Node,
        from: DirPosition,
        visit: &mut dyn FnMut(DirEntry<'_>) -> ControlFlow<()>,
    ) -> Result<(), FsError> {
        let len = usize::try_from(directory.id.1 - 2).unwrap();
        let path = &self.files[usize::try_from(directory.id.0).unwrap()].0[..len];
        let mut names: Vec<&str> = Vec::new();
        for (file, _) in &self.files {
            let rest = if path.is_empty() {
                Some(file.as_str())
            } else {
                file.strip_prefix(path).and_then(|rest| rest.strip_prefix('/'))
            };
            let name = rest.and_then(|rest| rest.split('/').next());
            names.extend(name.filter(|name| !names.contains(name)));
        }
        for (index, name) in names.iter().enumerate().skip(usize::try_from(from.0).unwrap()) {
            let whole = if path.is_empty() {
                (*name).to_owned()
            } else {
                format!("{path}/{name}")
            };
            let entry = DirEntry::new(name, self.node(&whole).unwrap(), DirPosition(index as u64 + 1));
            if visit(entry).is_break() {
                break;
            }
        }
        Ok(())
    }

    fn open<'a>(&'a self, file: &Node) -> Result<Box<dyn ByteSource + 'a>, FsError> {
        Ok(Box::new(
            self.files[usize::try_from(file.id.0).unwrap()].1.as_slice(),
        ))
    }
}
