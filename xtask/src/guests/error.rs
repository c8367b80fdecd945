//! Error of converting a guest.

use crate::bzimage::WrapError;
use crate::guest_elf::GuestElfError;
use crate::image::ImageError;

/// Error of converting the ELF that cargo built for a guest.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum GuestError {
    #[error(transparent)]
    Elf(#[from] GuestElfError),
    #[error(transparent)]
    Wrap(#[from] WrapError),
    #[error(transparent)]
    Image(#[from] ImageError),
}
