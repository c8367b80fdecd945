//! ext4 file systems in a range of a disk image, made by mke2fs.

use std::fs::{File, OpenOptions};
use std::io::Read as _;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::process::Command;

use super::tree::Tree;
use crate::error::{Error, WithPath as _};
use crate::packages::{self, Package};
use crate::process;
use crate::workspace::Workspace;

/// UUID of the root file system.
pub(super) const UUID: &str = "2b1f6a54-6c3e-4b0c-9d53-7c1c4d2ea913";

/// Space besides the files, in bytes: the file system's tables and its journal.
const RESERVE: u64 = 32 << 20;

/// The length in bytes of a file system with files of `content` bytes.
pub(super) fn length(content: u64) -> u64 {
    content + RESERVE
}

/// Makes an ext4 with a label and the files of `tree` in `range` of the disk image `path`.
pub(super) fn write(
    workspace: &Workspace,
    path: &Path,
    range: Range<u64>,
    label: &str,
    tree: &Tree,
) -> Result<(), Error> {
    packages::ensure(workspace, &[Package::program("e2fsprogs", "mke2fs")])?;
    let temporary = std::env::temp_dir();
    let files = tempfile::tempdir_in(&temporary).with_path(&temporary)?;
    tree.write_to(files.path())?;
    let mke2fs = process::which("mke2fs").unwrap_or_else(|| "mke2fs".into());
    let mut command = Command::new(mke2fs);
    command
        .args(["-q", "-F", "-t", "ext4", "-L", label, "-U", UUID])
        .arg("-E")
        .arg(format!("root_owner=0:0,offset={}", range.start))
        .arg("-d")
        .arg(files.path())
        .arg(path)
        .arg(format!("{}k", (range.end - range.start) / 1024));
    process::run_logged(&mut command, &workspace.log("mke2fs")?)?;
    Ok(())
}

/// Copies the file system in the file `image` to `start` of the disk image `path`, whose other bytes there are zeros.
pub(super) fn copy(image: &Path, path: &Path, start: u64) -> Result<(), Error> {
    let mut from = File::open(image).with_path(image)?;
    let to = OpenOptions::new().write(true).open(path).with_path(path)?;
    let mut piece = vec![0; 1 << 16];
    let mut at = start;
    loop {
        let count = from.read(&mut piece).with_path(image)?;
        if count == 0 {
            return Ok(());
        }
        let bytes = &piece[..count];
        // Holes stay holes.
        if bytes.iter().any(|byte| *byte != 0) {
            to.write_all_at(bytes, at).with_path(path)?;
        }
        at += count as u64;
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_copy_has_the_bytes_and_the_holes() {
        let directory = tempfile::tempdir().unwrap();
        let (from, to) = (directory.path().join("from"), directory.path().join("to"));
        let mut content = vec![0; 200_000];
        content[70_000] = 7;
        content[199_999] = 9;
        fs::write(&from, &content).unwrap();
        fs::write(&to, vec![0; 300_000]).unwrap();
        copy(&from, &to, 512).unwrap();
        let copied = fs::read(&to).unwrap();
        assert!(copied[512..200_512] == content && copied.len() == 300_000);
        assert!(copy(&directory.path().join("none"), &to, 0).is_err());
    }
}
