//! What happens during a boot, for a console.

use core::fmt;

use disk::{PartitionError, TableWarning};
use efi_core::Status;
use efi_core::device_path::DevicePath;
use efi_core::variables::LoadOptionError;
use fs_fat::FatError;

/// A disk or a partition of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// Number of the disk, from 0.
    pub disk: usize,
    /// Number of the partition; 0 for the whole disk.
    pub partition: u32,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "disk {}", self.disk)?;
        match self.partition {
            0 => Ok(()),
            number => write!(f, ", partition {number}"),
        }
    }
}

/// What happens during a boot.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// The partition table of a disk cannot be used.
    NoTable {
        /// The disk.
        part: Part,
        /// Cause.
        error: &'a PartitionError,
    },
    /// The partition table of a disk has a defect.
    Table {
        /// The disk.
        part: Part,
        /// The defect.
        warning: &'a TableWarning,
    },
    /// An EFI System Partition has no file system that can be read.
    NoFileSystem {
        /// The partition.
        part: Part,
        /// Cause.
        error: &'a FatError,
    },
    /// A disk, partition or volume cannot be given to programs.
    NotAdded {
        /// The disk or partition.
        part: Part,
        /// Cause.
        status: Status,
    },
    /// A variable is no load option.
    BadOption {
        /// Number of the option.
        number: u16,
        /// Cause.
        error: &'a LoadOptionError,
    },
    /// A program is about to be loaded and started.
    Starting {
        /// Number and description of the boot option; `None` for the default program of a volume.
        option: Option<(u16, &'a str)>,
        /// Where it is.
        path: DevicePath<'a>,
    },
    /// A program cannot be loaded or started; the next one follows.
    Failed {
        /// Where it is.
        path: DevicePath<'a>,
        /// Cause.
        status: Status,
    },
    /// A program has ended and returned control; the next one follows.
    Ended {
        /// Where it is.
        path: DevicePath<'a>,
        /// What it returned.
        status: Status,
        /// What it says about the reason; may be empty.
        message: &'a str,
    },
    /// A boot option leads to no volume.
    NoVolume {
        /// Number of the option.
        number: u16,
    },
    /// No volume has the default program.
    NoDefault {
        /// Its path on a volume.
        file: &'a str,
    },
}

impl fmt::Display for Event<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoTable { part, error } => write!(f, "{part}: {error}"),
            Self::Table { part, warning } => write!(f, "{part}: {warning}"),
            Self::NoFileSystem { part, error } => write!(f, "{part}: {error}"),
            Self::NotAdded { part, status } => {
                write!(f, "{part} is not available to EFI programs: {status}")
            }
            Self::BadOption { number, error } => write!(f, "Boot{number:04X}: {error}"),
            Self::Starting { option, path } => {
                f.write_str("starting ")?;
                if let Some((number, description)) = option {
                    write!(f, "Boot{number:04X} \"{description}\" ")?;
                }
                f.write_str(&path.to_text())
            }
            Self::Failed { path, status } => {
                write!(f, "{} cannot be started: {status}", path.to_text())
            }
            Self::Ended {
                path,
                status,
                message,
            } => {
                write!(f, "{} has ended: {status}", path.to_text())?;
                if message.is_empty() {
                    Ok(())
                } else {
                    write!(f, " ({message})")
                }
            }
            Self::NoVolume { number } => write!(f, "Boot{number:04X} leads to no volume of this machine"),
            Self::NoDefault { file } => write!(f, "no volume has {file}"),
        }
    }
}
