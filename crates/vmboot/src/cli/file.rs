//! Files on the command line.

use std::error::Error;
use std::fs::File;
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

/// A file could not be opened.
#[derive(Debug, thiserror::Error)]
#[error("cannot open {}", path.display())]
pub(crate) struct OpenError {
    pub(crate) path: PathBuf,
    pub(crate) source: io::Error,
}

/// Opens a file for reads at any offset.
///
/// Does not block: opening a FIFO without a writer would. A file of another type is an error when its length is read.
pub(crate) fn open(path: &Path) -> Result<File, OpenError> {
    let flags = OFlags::NONBLOCK.bits().cast_signed();
    File::options()
        .read(true)
        .custom_flags(flags)
        .open(path)
        .map_err(|source| OpenError {
            path: path.to_owned(),
            source,
        })
}

/// An error with the path of the file that caused it.
#[derive(Debug, thiserror::Error)]
#[error("{}", path.display())]
pub(crate) struct FileError {
    path: PathBuf,
    source: Box<dyn Error>,
}

impl FileError {
    /// Adds `path` to an error.
    pub(crate) fn with_path<E: Error + 'static>(path: &Path) -> impl FnOnce(E) -> Self + use<'_, E> {
        move |source| Self {
            path: path.to_owned(),
            source: Box::new(source),
        }
    }
}
