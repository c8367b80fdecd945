//! The files of a file system that is going to be made.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::error::{Error, WithPath as _};

/// Content of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// A copy of this file.
    File(PathBuf),
    /// These bytes.
    Bytes(Vec<u8>),
}

/// Files by their path, with `/` between the names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Tree {
    files: BTreeMap<String, Source>,
}

impl Source {
    /// The content.
    pub(super) fn read(&self) -> Result<Cow<'_, [u8]>, Error> {
        match self {
            Self::File(path) => Ok(Cow::Owned(fs::read(path).with_path(path)?)),
            Self::Bytes(bytes) => Ok(Cow::Borrowed(bytes)),
        }
    }

    fn length(&self) -> Result<u64, Error> {
        match self {
            Self::File(path) => Ok(fs::metadata(path).with_path(path)?.len()),
            Self::Bytes(bytes) => Ok(bytes.len() as u64),
        }
    }
}

impl Tree {
    /// Adds a copy of a file.
    pub(super) fn file(&mut self, name: impl Into<String>, path: &Path) {
        self.files.insert(name.into(), Source::File(path.to_path_buf()));
    }

    /// Adds a file with this content.
    pub(super) fn bytes(&mut self, name: impl Into<String>, content: impl Into<Vec<u8>>) {
        self.files.insert(name.into(), Source::Bytes(content.into()));
    }

    /// Renames a file. False if there is none of this name.
    pub(super) fn rename(&mut self, from: &str, to: &str) -> bool {
        let source = self.files.remove(from);
        let is_there = source.is_some();
        self.files.extend(source.map(|source| (to.to_owned(), source)));
        is_there
    }

    /// The files in the order of their names.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &Source)> {
        self.files.iter().map(|(name, source)| (name.as_str(), source))
    }

    /// The sum of the lengths of all files.
    pub(super) fn length(&self) -> Result<u64, Error> {
        self.files.values().map(Source::length).sum()
    }

    /// Writes the files below a directory.
    pub(super) fn write_to(&self, directory: &Path) -> Result<(), Error> {
        for (name, source) in self.iter() {
            let path = directory.join(name);
            if let Some(parent) = path.parent() {
                fs::create_dir_all(parent).with_path(parent)?;
            }
            fs::write(&path, source.read()?).with_path(&path)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_come_from_bytes_and_from_files() {
        let directory = tempfile::tempdir().unwrap();
        let source = directory.path().join("source");
        fs::write(&source, "from a file").unwrap();
        let mut tree = Tree::default();
        tree.file("boot/copy", &source);
        tree.bytes("boot/grub/grub.cfg", "text");
        assert_eq!(tree.length().unwrap(), 15);
        let copy = directory.path().join("copy");
        tree.write_to(&copy).unwrap();
        assert_eq!(fs::read(copy.join("boot/copy")).unwrap(), b"from a file");
        assert_eq!(fs::read(copy.join("boot/grub/grub.cfg")).unwrap(), b"text");
        assert!(tree.rename("boot/copy", "boot/moved") && !tree.rename("boot/copy", "boot/again"));
        assert_eq!(tree.iter().next().unwrap().0, "boot/grub/grub.cfg");
        tree.file("missing", &directory.path().join("no-such-file"));
        assert!(tree.length().unwrap_err().to_string().contains("no-such-file"));
    }
}
