//! ext4 file systems in a range of a disk image, made by mke2fs.

use std::ops::Range;
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
