//! Programs of guests: where they come from, and their plans.

mod elf;
#[cfg(feature = "fake")]
mod fake;

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hv_core::BareAbilities;
use proto_sandbox::Sizes;

pub use self::elf::ElfError;
#[cfg(feature = "fake")]
pub use self::fake::FakeProgram;
use crate::base::Base;
use crate::copy_on_write::Tracking;
use crate::image::{Image, ImageOrigin};
use crate::memory_error::MemoryFileError;
use crate::program_bytes::ProgramBytes;

/// A program for a sandbox.
#[derive(Clone, Debug)]
pub struct GuestProgram(Source);

#[derive(Clone, Debug)]
enum Source {
    File(PathBuf),
    Bytes(Arc<[u8]>),
    #[cfg(feature = "fake")]
    Fake(Arc<FakeProgram>),
}

/// Why a program cannot be loaded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProgramError {
    /// The file cannot be opened.
    #[error("cannot open the guest {}", path.display())]
    Open {
        /// Path of the file.
        path: PathBuf,
        /// The error of the host.
        source: io::Error,
    },
    /// The ELF file cannot be loaded.
    #[error(transparent)]
    Elf(#[from] ElfError),
    /// The memory of the guest cannot be made.
    #[error(transparent)]
    Memory(#[from] MemoryFileError),
    /// The bytes are no program of the fake hypervisor.
    #[cfg(feature = "fake")]
    #[error("the bytes are no program of the fake hypervisor")]
    NotFake,
}

impl GuestProgram {
    /// The ELF file at `path`.
    #[must_use]
    pub fn file(path: impl AsRef<Path>) -> Self {
        Self(Source::File(path.as_ref().to_owned()))
    }

    /// An ELF file in memory.
    #[must_use]
    pub fn bytes(elf: impl Into<Arc<[u8]>>) -> Self {
        Self(Source::Bytes(elf.into()))
    }

    /// Plans the program for a machine with `abilities`, and loads it.
    pub(crate) fn load(
        &self,
        sizes: &Sizes,
        tracking: Tracking,
        abilities: &BareAbilities,
        max_payload: u64,
    ) -> Result<(Image, Base), ProgramError> {
        let program = match &self.0 {
            Source::File(path) => {
                let file = File::open(path).map_err(|source| ProgramError::Open {
                    path: path.clone(),
                    source,
                })?;
                ProgramBytes::File(Arc::new(file))
            }
            Source::Bytes(bytes) => ProgramBytes::Elf(Arc::clone(bytes)),
            #[cfg(feature = "fake")]
            Source::Fake(program) => ProgramBytes::Fake(program.encode().into()),
        };
        load(program, sizes, tracking, abilities, max_payload)
    }
}

/// Plans a program for a machine with `abilities`, and loads it.
pub(crate) fn load(
    program: ProgramBytes,
    sizes: &Sizes,
    tracking: Tracking,
    abilities: &BareAbilities,
    max_payload: u64,
) -> Result<(Image, Base), ProgramError> {
    let origin = ImageOrigin {
        program,
        sizes: *sizes,
        max_payload,
        tracking,
    };
    Ok(match &origin.program {
        ProgramBytes::File(file) => elf::load(&*Arc::clone(file), origin, abilities)?,
        ProgramBytes::Elf(bytes) => elf::load(&&*Arc::clone(bytes), origin, abilities)?,
        #[cfg(feature = "fake")]
        ProgramBytes::Fake(bytes) => {
            let program = FakeProgram::decode(bytes).ok_or(ProgramError::NotFake)?;
            program.load(origin)?
        }
    })
}

#[cfg(feature = "fake")]
impl From<FakeProgram> for GuestProgram {
    fn from(program: FakeProgram) -> Self {
        Self(Source::Fake(Arc::new(program)))
    }
}
