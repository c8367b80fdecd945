//! Snapshots in files.

mod error;
mod options;
mod raw;
mod read;
mod write;

use std::fs::File;
use std::io::{BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;

use boot_core::ByteSource;

pub use self::error::{FileError, LoadSnapshotError, SaveSnapshotError};
pub use self::options::LoadOptions;
use crate::backend::{Backend, Kvm};
use crate::snapshot::Snapshot;

impl Snapshot {
    /// Loads a snapshot for KVM from a file that [`save`](Self::save) wrote, on this host or on another one whose CPU has the same features.
    ///
    /// The file contains the program of the guest. The program is planned again, so page tables and all that the host relies on come from
    /// the plan and never from the file. The file need not be trusted: what a changed file can do is what its guest could do.
    ///
    /// The snapshot is one of an image of its own: sandboxes that [start](crate::SandboxBuilder::from_snapshot) from it can return to it and
    /// to each other's snapshots, others cannot. Host functions are registered with the builder, which compares their types. Limits are
    /// those of the file, but not above the defaults of the builder, which can set others.
    ///
    /// # Errors
    ///
    /// [`LoadSnapshotError`].
    pub fn load(path: impl AsRef<Path>, options: LoadOptions) -> Result<Self, LoadSnapshotError> {
        Self::load_on(Kvm, path, options)
    }
}

impl<B: Backend> Snapshot<B> {
    /// Writes the snapshot to a new file at `path`, or replaces the file there. A file that could not be written to its end is refused by
    /// [`load`](Snapshot::load).
    ///
    /// The file has the program of the guest and the pages that differ from those before its first instruction. It takes as much time as it
    /// takes to load the program again. The memory of the guest is in the file as it is: the file is as secret as what the guest knows. Only
    /// the owner can read a new file; one that is replaced keeps its mode.
    ///
    /// # Errors
    ///
    /// [`SaveSnapshotError`], among others if the guest changed control registers, or if the file of the program was changed since it was
    /// loaded.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<(), SaveSnapshotError> {
        let path = path.as_ref();
        let mut options = File::options();
        options.write(true).create(true).truncate(true).mode(0o600);
        let file = options.open(path).map_err(|source| SaveSnapshotError::Create {
            path: path.to_owned(),
            source,
        })?;
        self.write_to(&mut BufWriter::new(file))
    }

    /// Writes the snapshot as [`save`](Self::save) does.
    ///
    /// # Errors
    ///
    /// [`SaveSnapshotError`].
    pub fn write_to(&self, out: &mut impl Write) -> Result<(), SaveSnapshotError> {
        write::write(&self.0, out)
    }

    /// Loads a snapshot as [`load`](Snapshot::load) does, for machines of `backend`.
    ///
    /// # Errors
    ///
    /// [`LoadSnapshotError`].
    pub fn load_on(
        backend: B,
        path: impl AsRef<Path>,
        options: LoadOptions,
    ) -> Result<Self, LoadSnapshotError> {
        let path = path.as_ref();
        let file = File::open(path).map_err(|source| LoadSnapshotError::Open {
            path: path.to_owned(),
            source,
        })?;
        Self::read_from(backend, &file, options)
    }

    /// Loads a snapshot as [`load`](Snapshot::load) does, from any source of bytes.
    ///
    /// # Errors
    ///
    /// [`LoadSnapshotError`].
    pub fn read_from(
        backend: B,
        source: &dyn ByteSource,
        options: LoadOptions,
    ) -> Result<Self, LoadSnapshotError> {
        Ok(Self(Arc::new(read::read(backend, source, &options)?)))
    }
}
