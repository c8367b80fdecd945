//! Error of reading back what ukify made.

use std::io;

use bls::uki::UkiBootError;
use boot_core::ReadError;
use boot_measure::AuthenticodeError;
use boot_measure::pcr::{AddonError, ArchiveError, UkiSectionsError};
use fmt_pe::pe::PeError;

/// The files that ukify made cannot be read back.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum UkifyError {
    #[error("the unified kernel image of ukify: {0}")]
    Image(#[from] UkiBootError),
    #[error("the initrd of the unified kernel image: {0}")]
    Initrd(#[from] ReadError),
    #[error("an archive in the initrd of the unified kernel image: {0}")]
    Archive(#[from] io::Error),
    #[error("the initrd of the unified kernel image has no payload.bin")]
    NoPayload,
    #[error("the boot loader, the image, its kernel or the addon is no PE file")]
    NotPe,
    #[error(transparent)]
    Pe(#[from] PeError),
    #[error(transparent)]
    Sections(#[from] UkiSectionsError),
    #[error(transparent)]
    Addon(#[from] AddonError),
    #[error(transparent)]
    Companion(#[from] ArchiveError),
    #[error(transparent)]
    Authenticode(#[from] AuthenticodeError),
}
