//! Errors of file systems.

use alloc::boxed::Box;
use core::error::Error;

use boot_core::ReadError;

use super::PathError;

/// Error of a [`FileSystem`](super::FileSystem).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FsError {
    /// The partition or file could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The path violates the rules of paths.
    #[error(transparent)]
    Path(#[from] PathError),
    /// A component in the middle of a path, or the node of [`read_dir`](super::FileSystem::read_dir), is not a directory.
    #[error("{} is not a directory", Subject(.component.as_deref()))]
    NotADirectory {
        /// The component of the path; `None` for a node.
        component: Option<Box<str>>,
    },
    /// The node of [`open`](super::FileSystem::open) is not a regular file.
    #[error("the path does not lead to a regular file")]
    NotAFile,
    /// The file is longer than the caller of [`read_file`](super::FileSystem::read_file) accepts.
    #[error("the file has {len} bytes, at most {max_len} are accepted")]
    TooLarge {
        /// Length of the file in bytes.
        len: u64,
        /// Limit of the caller in bytes.
        max_len: usize,
    },
    /// The file system violates its specification. The source is the error type of its crate.
    #[error("the file system is malformed")]
    Malformed(#[source] Box<dyn Error + Send + Sync>),
    /// The file system is well-formed, but has a feature or size that its crate does not support. The source is the error type
    /// of that crate.
    #[error("the file system is not supported")]
    Unsupported(#[source] Box<dyn Error + Send + Sync>),
}

/// What is not a directory.
struct Subject<'a>(Option<&'a str>);

impl core::fmt::Display for Subject<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self.0 {
            Some(component) => write!(f, "{component:?} in the path"),
            None => write!(f, "the file"),
        }
    }
}
