//! Memory of a guest that the host cannot make.

use std::io;

use boot_core::LoadError;
use guest_ram::MappingError;

/// Why the memory of a guest cannot be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MemoryFileError {
    /// The host has no memory for the image.
    #[error("the host cannot make memory for the guest")]
    Mapping(#[from] MappingError),
    /// A memory file cannot be created or sealed.
    #[error("the host cannot make a memory file for the guest")]
    File(#[from] io::Error),
    /// A plan cannot be loaded.
    #[error(transparent)]
    Load(#[from] LoadError),
}
