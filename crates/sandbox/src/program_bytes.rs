//! Programs of loaded images, for files of snapshots.

use std::fs::File;
use std::sync::Arc;

use boot_core::{ReadError, SizedSource};

/// A program as it was loaded.
#[derive(Clone, Debug)]
pub(crate) enum ProgramBytes {
    /// An open ELF file.
    File(Arc<File>),
    /// An ELF file in memory.
    Elf(Arc<[u8]>),
    /// A program of the fake hypervisor.
    #[cfg(feature = "fake")]
    Fake(Arc<[u8]>),
}

/// Kinds of programs in files.
pub(crate) mod kind {
    /// An ELF file.
    pub(crate) const ELF: u32 = 1;
    /// A program of the fake hypervisor.
    #[cfg(feature = "fake")]
    pub(crate) const FAKE: u32 = 2;
}

impl ProgramBytes {
    /// The program of a kind with these bytes; `None` for an unknown kind.
    pub(crate) fn new(kind: u32, bytes: Vec<u8>) -> Option<Self> {
        match kind {
            kind::ELF => Some(Self::Elf(bytes.into())),
            #[cfg(feature = "fake")]
            kind::FAKE => Some(Self::Fake(bytes.into())),
            _ => None,
        }
    }

    /// The kind.
    pub(crate) fn kind(&self) -> u32 {
        match self {
            Self::File(_) | Self::Elf(_) => kind::ELF,
            #[cfg(feature = "fake")]
            Self::Fake(_) => kind::FAKE,
        }
    }

    /// The bytes.
    pub(crate) fn read(&self) -> Result<Arc<[u8]>, ReadError> {
        match self {
            Self::Elf(bytes) => Ok(Arc::clone(bytes)),
            #[cfg(feature = "fake")]
            Self::Fake(bytes) => Ok(Arc::clone(bytes)),
            Self::File(file) => {
                let source = SizedSource::new(&**file)?;
                let mut bytes = vec![0; usize::try_from(source.len()).unwrap_or(usize::MAX)];
                source.read_exact_at(0, &mut bytes)?;
                Ok(bytes.into())
            }
        }
    }
}
