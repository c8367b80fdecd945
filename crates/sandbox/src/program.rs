//! Programs of guests: where they come from, and their plans.

#[cfg(feature = "fake")]
mod fake;

#[cfg(feature = "fake")]
use std::sync::Arc;

use hv_core::BareAbilities;

#[cfg(feature = "fake")]
pub use self::fake::FakeProgram;
use crate::base::Base;
use crate::image::{Image, MemoryFileError};
use crate::sizes::Sizes;

/// A program for a sandbox.
#[derive(Clone, Debug)]
pub struct GuestProgram(Source);

#[derive(Clone, Debug)]
enum Source {
    #[cfg(feature = "fake")]
    Fake(Arc<FakeProgram>),
}

/// Why a program cannot be loaded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProgramError {
    /// The memory of the guest cannot be made.
    #[error(transparent)]
    Memory(#[from] MemoryFileError),
}

impl GuestProgram {
    /// Plans the program for a machine with `abilities`, and loads it.
    pub(crate) fn load(
        &self,
        sizes: &Sizes,
        abilities: &BareAbilities,
        max_payload: u64,
    ) -> Result<(Image, Base), ProgramError> {
        let _ = (abilities, max_payload);
        match &self.0 {
            #[cfg(feature = "fake")]
            Source::Fake(program) => Ok(program.load(sizes)?),
        }
    }
}

#[cfg(feature = "fake")]
impl From<FakeProgram> for GuestProgram {
    fn from(program: FakeProgram) -> Self {
        Self(Source::Fake(Arc::new(program)))
    }
}
