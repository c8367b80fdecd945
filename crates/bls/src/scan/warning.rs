//! Warnings of a scan.

use alloc::string::String;

use boot_core::ReadError;
use disk::FsError;

use crate::name::NameError;
use crate::note::Note;
use crate::path::{FilePath, PathError};
use crate::text::TextError;
use crate::type1::Type1Error;
use crate::uki::{AddonMismatch, UkiError};

/// File or directory that a scan left out, or part of it that has no effect.
#[derive(Debug, thiserror::Error)]
#[error("volume {volume}: {path:?}: {kind}")]
#[non_exhaustive]
pub struct ScanWarning {
    /// Index of the volume in the list that was scanned.
    pub volume: usize,
    /// Path of the file or directory.
    pub path: String,
    /// Reason.
    #[source]
    pub kind: WarningKind,
}

/// Reason of a [`ScanWarning`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WarningKind {
    /// The file system has an error.
    #[error(transparent)]
    FileSystem(#[from] FsError),
    /// The file cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The file name cannot be that of an entry.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The path of the file is not supported.
    #[error(transparent)]
    Path(#[from] PathError),
    /// The file is not text, or too long.
    #[error(transparent)]
    Text(#[from] TextError),
    /// The entry of type 1 is invalid.
    #[error(transparent)]
    Type1(#[from] Type1Error),
    /// The unified kernel image or addon is invalid.
    #[error(transparent)]
    Uki(#[from] UkiError),
    /// A line has no effect, or another one than expected.
    #[error(transparent)]
    Note(#[from] Note),
    /// The file in `/EFI/Linux` is not a unified kernel image.
    #[error("the file is not a unified kernel image: it is no PE file with a section \".linux\"")]
    NotUki,
    /// The unified kernel image of an entry of type 1 does not exist.
    #[error("the file {path} of \"uki\" does not exist or is not a file")]
    UkiNotFound {
        /// Path of the image.
        path: FilePath,
    },
    /// The name of an entry of type 1 begins with `auto-`, which is reserved for entries that boot loaders make.
    #[error("names that begin with \"auto-\" are reserved")]
    ReservedName,
    /// `/loader/entries.srel` says that the directory has files of another kind.
    #[error("the file contains {found:?}, not \"type1\": the files in /loader/entries are of another kind")]
    OtherEntries {
        /// First characters of the file.
        found: String,
    },
    /// `devicetree-overlay` without `devicetree`, on which it depends.
    #[error("\"devicetree-overlay\" is ignored, as there is no \"devicetree\"")]
    OverlayWithoutTree,
    /// `options` of an entry with a unified kernel image, with Secure Boot.
    #[error("\"options\" is ignored: with Secure Boot, the signed command line of the image applies")]
    UnverifiedOptions,
    /// An addon, with Secure Boot.
    #[error("the addon is ignored: with Secure Boot, it would have to be verified")]
    UnverifiedAddon,
    /// An addon is not for the image.
    #[error(transparent)]
    AddonMismatch(#[from] AddonMismatch),
    /// There are more entries than the limit.
    #[error("this entry and later ones are left out: there are more than {max}")]
    TooManyEntries {
        /// The limit.
        max: usize,
    },
    /// There are more names in the directories than the limit.
    #[error("the rest of the directory is left out: there are more than {max} names in all directories")]
    TooManyNames {
        /// The limit.
        max: usize,
    },
    /// There is more text in the files than the limit.
    #[error("the file is left out: there are more than {max} bytes of text in all files")]
    TooMuchText {
        /// The limit in bytes.
        max: usize,
    },
}
