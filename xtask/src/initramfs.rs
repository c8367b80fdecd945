//! Writes initramfs archives in the `newc` format (`Documentation/driver-api/early-userspace/buffer-format.rst`).

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, BufWriter, Read, Write as _};
use std::path::{Path, PathBuf};

use cpio::NewcBuilder;
use cpio::newc::{ModeFileType, trailer};

use crate::error::{Error, WithPath as _};

/// An archive that is being written.
#[derive(Debug)]
pub(crate) struct Initramfs {
    path: PathBuf,
    output: BufWriter<File>,
    directories: BTreeSet<String>,
    /// Each entry has a number of its own: entries with the same number are hard links.
    next_inode: u32,
}

impl Initramfs {
    /// Starts an archive with `/dev/console`, which the kernel opens before it runs init.
    pub(crate) fn create(path: &Path) -> Result<Self, Error> {
        let output = BufWriter::new(File::create(path).with_path(path)?);
        let mut archive = Self {
            path: path.to_path_buf(),
            output,
            directories: BTreeSet::new(),
            next_inode: 1,
        };
        archive.parents("dev/console")?;
        // Character device 5:1 of Documentation/admin-guide/devices.txt.
        let console = archive
            .entry("dev/console", ModeFileType::Char, 0o600)
            .rdev_major(5)
            .rdev_minor(1);
        archive.write(console, &mut io::empty(), 0)?;
        Ok(archive)
    }

    /// Adds a copy of the file `source`.
    pub(crate) fn file(&mut self, name: &str, mode: u32, source: &Path) -> Result<(), Error> {
        let mut file = File::open(source).with_path(source)?;
        let length = file.metadata().with_path(source)?.len();
        self.parents(name)?;
        let entry = self.entry(name, ModeFileType::Regular, mode);
        self.write(entry, &mut file, length)
    }

    /// Adds a file with this content.
    pub(crate) fn bytes(&mut self, name: &str, mode: u32, content: &[u8]) -> Result<(), Error> {
        self.parents(name)?;
        let entry = self.entry(name, ModeFileType::Regular, mode);
        self.write(entry, &mut &*content, content.len() as u64)
    }

    /// Completes the archive.
    pub(crate) fn finish(self) -> Result<(), Error> {
        let Self { path, output, .. } = self;
        trailer(output)
            .and_then(|mut output| output.flush())
            .with_path(&path)
    }

    /// Adds the missing parent directories of `name`, which Linux does not create.
    fn parents(&mut self, name: &str) -> Result<(), Error> {
        for (end, _) in name.match_indices('/') {
            let directory = &name[..end];
            if self.directories.insert(directory.to_owned()) {
                let entry = self.entry(directory, ModeFileType::Directory, 0o755).nlink(2);
                self.write(entry, &mut io::empty(), 0)?;
            }
        }
        Ok(())
    }

    fn entry(&mut self, name: &str, kind: ModeFileType, mode: u32) -> NewcBuilder {
        let inode = self.next_inode;
        self.next_inode = inode.wrapping_add(1);
        NewcBuilder::new(name)
            .ino(inode)
            .mode(mode)
            .set_mode_file_type(kind)
    }

    fn write(&mut self, entry: NewcBuilder, content: &mut dyn Read, length: u64) -> Result<(), Error> {
        // The format has 32 bits for the length of a file.
        let too_long = || io::Error::from(io::ErrorKind::FileTooLarge);
        let length = u32::try_from(length).or(Err(too_long())).with_path(&self.path)?;
        let mut writer = entry.write(&mut self.output, length);
        let copied = io::copy(content, &mut writer).with_path(&self.path)?;
        if copied != u64::from(length) {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof)).with_path(&self.path);
        }
        writer.finish().with_path(&self.path)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use cpio::NewcReader;

    use super::*;

    #[test]
    fn the_archive_holds_what_was_put_in() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("initramfs.cpio");
        let source = directory.path().join("source");
        std::fs::write(&source, "from a file").unwrap();
        let mut archive = Initramfs::create(&path).unwrap();
        archive.bytes("init", 0o755, b"#!").unwrap();
        archive.file("lab/bin/program", 0o755, &source).unwrap();
        archive.bytes("lab/empty", 0o644, b"").unwrap();
        archive.finish().unwrap();

        let mut input = File::open(&path).unwrap();
        let mut seen = Vec::new();
        let mut inodes = BTreeSet::new();
        loop {
            let mut reader = NewcReader::new(input).unwrap();
            if reader.entry().is_trailer() {
                break;
            }
            let mut content = String::new();
            reader.read_to_string(&mut content).unwrap();
            let entry = reader.entry();
            assert!(inodes.insert(entry.ino()));
            seen.push((entry.name().to_owned(), entry.mode(), entry.rdev_major(), content));
            input = reader.finish().unwrap();
        }
        let entry =
            |name: &str, mode, major, content: &str| (name.to_owned(), mode, major, content.to_owned());
        assert_eq!(
            seen,
            [
                entry("dev", 0o040_755, 0, ""),
                entry("dev/console", 0o020_600, 5, ""),
                entry("init", 0o100_755, 0, "#!"),
                entry("lab", 0o040_755, 0, ""),
                entry("lab/bin", 0o040_755, 0, ""),
                entry("lab/bin/program", 0o100_755, 0, "from a file"),
                entry("lab/empty", 0o100_644, 0, ""),
            ]
        );
    }

    #[test]
    fn a_missing_source_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let mut archive = Initramfs::create(&directory.path().join("a")).unwrap();
        let error = archive.file("x", 0o644, Path::new("/no/such/file")).unwrap_err();
        assert!(error.to_string().starts_with("/no/such/file: "));
    }
}
