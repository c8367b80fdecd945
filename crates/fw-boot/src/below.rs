//! A directory of a file system as a file system.

use alloc::boxed::Box;
use alloc::format;
use core::ops::ControlFlow;

use boot_core::ByteSource;
use disk::{DirEntry, DirPosition, FileSystem, FsError, FsInfo, Node};

/// The file system below a directory, such as `/boot` of a root file system. What is not found there is searched from the root on: entries name their
/// files in both ways.
pub(crate) struct Below<F> {
    inner: F,
    directory: &'static str,
}

impl<F: FileSystem> Below<F> {
    pub(crate) const fn new(inner: F, directory: &'static str) -> Self {
        Self { inner, directory }
    }
}

impl<F: FileSystem> FileSystem for Below<F> {
    fn info(&self) -> &FsInfo {
        self.inner.info()
    }

    fn root(&self) -> Node {
        match self.inner.lookup(self.directory) {
            Ok(Some(node)) => node,
            _ => self.inner.root(),
        }
    }

    fn lookup(&self, path: &str) -> Result<Option<Node>, FsError> {
        match self.inner.lookup(&format!("{}/{path}", self.directory))? {
            Some(node) => Ok(Some(node)),
            None => self.inner.lookup(path),
        }
    }

    fn read_dir(
        &self,
        directory: &Node,
        from: DirPosition,
        visit: &mut dyn FnMut(DirEntry<'_>) -> ControlFlow<()>,
    ) -> Result<(), FsError> {
        self.inner.read_dir(directory, from, visit)
    }

    fn open<'a>(&'a self, file: &Node) -> Result<Box<dyn ByteSource + 'a>, FsError> {
        self.inner.open(file)
    }
}
