//! Disks with one boot entry, for kernels that are not those of media.

use tempfile::TempDir;

use super::machine::Disk;
use super::medium;
use super::medium::entry::EntryFiles;
use super::medium::kind::Kind;
use super::medium::spec::Medium;
use super::platform::Bus;
use crate::error::{Error, WithPath as _};
use crate::workspace::Workspace;

/// A disk that exists as long as the value.
#[derive(Debug)]
pub(crate) struct TemporaryDisk {
    disk: Disk,
    _directory: TempDir,
}

impl TemporaryDisk {
    /// Writes a disk with an entry.
    pub(crate) fn with_entry(workspace: &Workspace, entry: &EntryFiles<'_>) -> Result<Self, Error> {
        let temporary = std::env::temp_dir();
        let directory = tempfile::tempdir_in(&temporary).with_path(&temporary)?;
        let image = directory.path().join("disk.img");
        let medium = Medium::new(Kind::Bls1);
        medium::write_entry(workspace, &medium, entry, &image)?;
        Ok(Self {
            disk: Disk {
                image,
                block_size: medium.block_size,
                bad_sector: None,
            },
            _directory: directory,
        })
    }

    /// QEMU's options for it as a virtio disk on PCI.
    pub(crate) fn options(&self) -> [String; 4] {
        let (drive, device) = self.disk.options(Bus::Pci, 0, true);
        ["-drive".to_owned(), drive, "-device".to_owned(), device]
    }
}
