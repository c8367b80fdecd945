//! `--initrd-dir`: a directory as an archive for the kernel (`Documentation/driver-api/early-userspace/buffer-format.rst`).

use std::fs::{self, FileType, Metadata};
use std::io::{self, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use cpio::NewcBuilder;
use cpio::newc::{ModeFileType, trailer};

/// A directory cannot be made an archive.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InitrdDirError {
    #[error("cannot read {}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("the name of {} is not UTF-8; rename it", .0.display())]
    Name(PathBuf),
    #[error("{} is longer than 4 GiB, the limit of the archive", .0.display())]
    TooLong(PathBuf),
}

/// Makes an archive of the content of `dir`, in the order of names; symbolic links stay links.
///
/// All files belong to root and have no times, so that equal directories give equal archives. Without `dev/console` the archive gets one, which init
/// needs for its messages, and which only root can create.
pub(crate) fn archive(dir: &Path) -> Result<Vec<u8>, InitrdDirError> {
    let mut archive = Archive {
        bytes: Vec::new(),
        next_inode: 1,
    };
    archive.add_dir(dir, "")?;
    let has = |path: &str| fs::symlink_metadata(dir.join(path)).is_ok();
    if !has("dev") {
        let entry = archive.entry("dev", ModeFileType::Directory, 0o755).nlink(2);
        archive.write(entry, &[], dir)?;
    }
    if !has("dev/console") {
        // Character device 5:1 (Documentation/admin-guide/devices.txt).
        let entry = archive.entry("dev/console", ModeFileType::Char, 0o600);
        archive.write(entry.rdev_major(5).rdev_minor(1), &[], dir)?;
    }
    trailer(archive.bytes).map_err(|source| InitrdDirError::Read {
        path: dir.to_owned(),
        source,
    })
}

struct Archive {
    bytes: Vec<u8>,
    /// Each entry has a number of its own: entries with the same number are hard links.
    next_inode: u32,
}

impl Archive {
    /// Adds what is in `dir`, whose name in the archive is `prefix`.
    fn add_dir(&mut self, dir: &Path, prefix: &str) -> Result<(), InitrdDirError> {
        let read = |source| InitrdDirError::Read {
            path: dir.to_owned(),
            source,
        };
        let mut names = Vec::new();
        for entry in fs::read_dir(dir).map_err(read)? {
            names.push(entry.map_err(read)?.file_name());
        }
        names.sort();
        for name in names {
            let path = dir.join(&name);
            let Some(name) = name.to_str() else {
                return Err(InitrdDirError::Name(path));
            };
            self.add(&path, &format!("{prefix}{name}"))?;
        }
        Ok(())
    }

    fn add(&mut self, path: &Path, name: &str) -> Result<(), InitrdDirError> {
        let read = |source| InitrdDirError::Read {
            path: path.to_owned(),
            source,
        };
        let metadata = fs::symlink_metadata(path).map_err(read)?;
        let file_type = metadata.file_type();
        let mode = metadata.permissions().mode() & 0o7777;
        let entry = self.entry(name, kind(file_type), mode);
        if file_type.is_dir() {
            self.write(entry.nlink(2), &[], path)?;
            self.add_dir(path, &format!("{name}/"))
        } else if file_type.is_file() {
            self.write(entry, &fs::read(path).map_err(read)?, path)
        } else if file_type.is_symlink() {
            let target = fs::read_link(path).map_err(read)?;
            self.write(entry, target.as_os_str().as_bytes(), path)
        } else {
            self.write(with_device(entry, &metadata), &[], path)
        }
    }

    fn entry(&mut self, name: &str, kind: ModeFileType, mode: u32) -> NewcBuilder {
        let inode = self.next_inode;
        self.next_inode = inode.wrapping_add(1);
        NewcBuilder::new(name)
            .ino(inode)
            .mode(mode)
            .set_mode_file_type(kind)
    }

    fn write(&mut self, entry: NewcBuilder, content: &[u8], path: &Path) -> Result<(), InitrdDirError> {
        let Ok(len) = u32::try_from(content.len()) else {
            return Err(InitrdDirError::TooLong(path.to_owned()));
        };
        let mut writer = entry.write(&mut self.bytes, len);
        writer
            .write_all(content)
            .and_then(|()| writer.finish().map(drop))
            .map_err(|source| InitrdDirError::Read {
                path: path.to_owned(),
                source,
            })
    }
}

/// The number of a device file.
fn with_device(entry: NewcBuilder, metadata: &Metadata) -> NewcBuilder {
    let number = metadata.rdev();
    entry
        .rdev_major(rustix::fs::major(number))
        .rdev_minor(rustix::fs::minor(number))
}

fn kind(file_type: FileType) -> ModeFileType {
    match file_type {
        kind if kind.is_dir() => ModeFileType::Directory,
        kind if kind.is_symlink() => ModeFileType::Symlink,
        kind if kind.is_fifo() => ModeFileType::Fifo,
        kind if kind.is_char_device() => ModeFileType::Char,
        kind if kind.is_block_device() => ModeFileType::Block,
        kind if kind.is_socket() => ModeFileType::Socket,
        _ => ModeFileType::Regular,
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::os::unix::fs::symlink;

    use cpio::NewcReader;

    use super::*;

    /// Names, modes and contents of an archive.
    fn list(archive: &[u8]) -> Vec<(String, u32, Vec<u8>)> {
        let (mut rest, mut entries) = (archive, Vec::new());
        loop {
            let mut reader = NewcReader::new(rest).unwrap();
            if reader.entry().is_trailer() {
                return entries;
            }
            let (name, mode) = (reader.entry().name().to_owned(), reader.entry().mode());
            let mut content = Vec::new();
            reader.read_to_end(&mut content).unwrap();
            entries.push((name, mode, content));
            rest = reader.finish().unwrap();
        }
    }

    #[test]
    fn an_archive_has_the_content_of_the_directory() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::create_dir(at("bin")).unwrap();
        fs::set_permissions(at("bin"), fs::Permissions::from_mode(0o755)).unwrap();
        fs::write(at("bin/sh"), b"a shell").unwrap();
        fs::set_permissions(at("bin/sh"), fs::Permissions::from_mode(0o4755)).unwrap();
        symlink("bin/sh", at("init")).unwrap();
        let first = archive(dir.path()).unwrap();
        let entry = |name: &str, mode, content: &[u8]| (name.to_owned(), mode, content.to_vec());
        assert_eq!(
            list(&first),
            [
                entry("bin", 0o40_755, b""),
                entry("bin/sh", 0o104_755, b"a shell"),
                entry("init", 0o120_777, b"bin/sh"),
                entry("dev", 0o40_755, b""),
                entry("dev/console", 0o20_600, b""),
            ]
        );
        // Only the content counts.
        fs::write(at("bin/sh"), b"a shell").unwrap();
        assert!(archive(dir.path()).unwrap() == first);
    }

    #[test]
    fn a_console_of_the_directory_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("dev")).unwrap();
        fs::write(dir.path().join("dev/console"), b"").unwrap();
        let names: Vec<_> = list(&archive(dir.path()).unwrap())
            .into_iter()
            .map(|(name, ..)| name)
            .collect();
        assert_eq!(names, ["dev", "dev/console"]);
    }

    #[test]
    fn errors_name_the_file() {
        let check = |path: &Path, expected: &str| {
            assert_eq!(archive(path).unwrap_err().to_string(), expected);
        };
        check(Path::new("/missing"), "cannot read /missing");
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(std::ffi::OsStr::from_bytes(b"\xff"));
        fs::write(&path, b"").unwrap();
        check(
            dir.path(),
            &format!("the name of {} is not UTF-8; rename it", path.display()),
        );
    }
}
