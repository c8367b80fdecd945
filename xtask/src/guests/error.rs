//! Why a guest could not be made.

use crate::bzimage::WrapError;
use crate::guest_elf::GuestElfError;
use crate::image::ImageError;

/// Why a guest could not be made out of what cargo built.
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
