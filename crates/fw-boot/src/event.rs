//! What happens during a boot, for a console or a log.

use core::fmt;

use bls::scan::ScanWarning;
use boot_core::ReadError;
use disk::{PartitionError, TableWarning};

use crate::chain::Chain;
use crate::start::EntryError;
use crate::volume_error::VolumeError;

/// What happens during a boot.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// The partition table of a disk cannot be used.
    NoTable {
        /// Number of the disk, from 0.
        disk: usize,
        /// Cause.
        error: &'a PartitionError,
    },
    /// The partition table of a disk has a defect.
    Table {
        /// Number of the disk, from 0.
        disk: usize,
        /// The defect.
        warning: &'a TableWarning,
    },
    /// A boot partition is outside of its disk.
    OutsideDisk {
        /// Number of the disk, from 0.
        disk: usize,
        /// Number of the partition; 0 for the whole disk.
        partition: u32,
        /// Cause.
        error: &'a ReadError,
    },
    /// A boot partition has no file system that can be read.
    NoFileSystem {
        /// Number of the disk, from 0.
        disk: usize,
        /// Number of the partition; 0 for the whole disk.
        partition: u32,
        /// Cause.
        error: &'a VolumeError,
    },
    /// A file of the Boot Loader Specification was left out, or looks wrong.
    Scan {
        /// Number of the disk, from 0.
        disk: usize,
        /// The warning.
        warning: &'a ScanWarning,
    },
    /// A disk has no boot entries.
    NoEntries {
        /// Number of the disk, from 0.
        disk: usize,
    },
    /// An entry is about to be loaded.
    Loading {
        /// Its title.
        title: &'a str,
        /// Its identification.
        id: &'a str,
    },
    /// An entry cannot be booted; the next one follows.
    Failed {
        /// Its identification.
        id: &'a str,
        /// Cause.
        error: &'a EntryError,
    },
}

impl fmt::Display for Event<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoTable { disk, error } => write!(f, "disk {disk}: {}", Chain(*error)),
            Self::Table { disk, warning } => write!(f, "disk {disk}: {warning}"),
            Self::OutsideDisk {
                disk,
                partition,
                error,
            } => write!(f, "disk {disk}, partition {partition}: {}", Chain(*error)),
            Self::NoFileSystem {
                disk,
                partition,
                error,
            } => write!(f, "disk {disk}, partition {partition}: {}", Chain(*error)),
            Self::Scan { disk, warning } => write!(f, "disk {disk}: {warning}"),
            Self::NoEntries { disk } => write!(f, "disk {disk} has no boot entries"),
            Self::Loading { title, id } => write!(f, "loading {title} ({id})"),
            Self::Failed { id, error } => write!(f, "{id} cannot be booted: {}", Chain(*error)),
        }
    }
}
