//! Disks with one boot entry, for kernels that are not those of media.

use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::machine::Disk;
use super::medium::{self, kind::Kind, spec::Medium};
use super::platform::Bus;
use crate::error::{Error, WithPath as _};
use crate::workspace::Workspace;

/// An entry of type 1 of the Boot Loader Specification.
#[derive(Clone, Copy, Debug)]
pub(crate) struct EntryDisk<'a> {
    pub(crate) kernel: &'a Path,
    pub(crate) initrd: Option<&'a Path>,
    /// The command line.
    pub(crate) options: &'a str,
}

/// A disk that exists as long as the value.
#[derive(Debug)]
pub(crate) struct TemporaryDisk {
    disk: Disk,
    _directory: TempDir,
}

impl EntryDisk<'_> {
    /// Writes a disk with the entry.
    pub(crate) fn write(&self, workspace: &Workspace) -> Result<TemporaryDisk, Error> {
        let temporary = std::env::temp_dir();
        let directory = tempfile::tempdir_in(&temporary).with_path(&temporary)?;
        let image: PathBuf = directory.path().join("disk.img");
        let medium = Medium::new(Kind::Bls1);
        medium::write_entry(workspace, &medium, self, &image)?;
        Ok(TemporaryDisk {
            disk: Disk {
                image,
                block_size: medium.block_size,
            },
            _directory: directory,
        })
    }
}

impl TemporaryDisk {
    /// QEMU's options for it as a virtio disk on PCI.
    pub(crate) fn options(&self) -> [String; 4] {
        let (drive, device) = self.disk.options(Bus::Pci, 0, true);
        ["-drive".to_owned(), drive, "-device".to_owned(), device]
    }
}
