//! Files on the command line.

use std::error::Error;
use std::fs::File;
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

/// A file that could not be opened.
#[derive(Debug, thiserror::Error)]
#[error("cannot open {}", path.display())]
pub(crate) struct OpenError {
    pub(crate) path: PathBuf,
    pub(crate) source: io::Error,
}

/// Opens a file for reads at any offset. Non-blocking, because the open of a pipe without a writer would block; other file
/// types fail at the query of their length.
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

/// Error about a file on the command line.
#[derive(Debug, thiserror::Error)]
#[error("{}", path.display())]
pub(crate) struct FileError {
    path: PathBuf,
    source: Box<dyn Error>,
}

impl FileError {
    /// Converts an error to one about `path`.
    pub(crate) fn about<E: Error + 'static>(path: &Path) -> impl FnOnce(E) -> Self + use<'_, E> {
        move |source| Self {
            path: path.to_owned(),
            source: Box::new(source),
        }
    }
}
