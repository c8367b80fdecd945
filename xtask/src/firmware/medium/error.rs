//! Error of making a boot medium.

use std::io;
use std::path::PathBuf;

use gpt_disk_io::DiskError;

use super::uki::UkiError;

/// Error of making a boot medium.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum MediumError {
    /// The partition table could not be written.
    #[error("{}: writing the partition table: {source}", path.display())]
    Table {
        path: PathBuf,
        source: DiskError<io::Error>,
    },
    /// The FAT file system could not be written.
    #[error("{}: writing the FAT file system: {source}", path.display())]
    Fat { path: PathBuf, source: io::Error },
    /// The unified kernel image could not be built.
    #[error("{}: {source}", stub.display())]
    Uki { stub: PathBuf, source: UkiError },
    /// The kernel has no sector in its middle.
    #[error("the kernel is shorter than a sector of 512 bytes")]
    SmallKernel,
    /// A medium without a boot loader cannot be traced.
    #[error("the medium has no boot loader whose calls could be traced; select another with --medium")]
    NoLoader,
    /// The architecture has no such medium.
    #[error("there is no medium {kind} for {arch}, because {reason}")]
    NoSuchMedium {
        kind: &'static str,
        arch: &'static str,
        reason: &'static str,
    },
}
