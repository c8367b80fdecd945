//! Predictions of TPM PCRs.
//!
//! The banks are those of [`HashAlgorithm`]. A prediction holds for a boot whose other measurements into the same register are known:
//! the functions here compute the whole value of a register that nothing else extends.

mod addon;
mod archive;
mod boot;
mod stub;
mod stub_boot;
mod uki;

pub use addon::{Addon, AddonError, text};
pub use archive::{ArchiveError, ArchiveKind, StubArchive};
pub use boot::{LinuxStub, boot_manager};
pub use stub::Stub;
pub use stub_boot::{StubBoot, StubRegisters, is_systemd_boot};
pub use uki::{BOOT_PHASES, MEASURED_SECTIONS, UkiSections, UkiSectionsError};

use boot_core::ReadError;

use crate::content::Content;
use crate::{Digest, HashAlgorithm, Hasher};

/// Value of a platform configuration register while events extend it (TPM 2.0 Library, part 1, section 17.2, "Initializing PCR").
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Pcr(Digest);

impl Pcr {
    /// The register after the start of the machine: zeros.
    #[must_use]
    pub const fn new(bank: HashAlgorithm) -> Self {
        Self(Digest::zero(bank))
    }

    /// The register with this value.
    #[must_use]
    pub const fn from_digest(value: Digest) -> Self {
        Self(value)
    }

    /// The value.
    #[must_use]
    pub const fn value(&self) -> &Digest {
        &self.0
    }

    /// Extends the register with the digest of these bytes, as the firmware's `HashLogExtendEvent` does.
    pub fn measure(&mut self, bytes: &[u8]) {
        let digest = self.0.algorithm().digest(bytes);
        self.extend(&digest);
    }

    /// Extends the register with the digest of content.
    ///
    /// # Errors
    ///
    /// The error of the source.
    pub fn measure_content(&mut self, content: &Content<'_>) -> Result<(), ReadError> {
        let digest = content.digest(self.0.algorithm())?;
        self.extend(&digest);
        Ok(())
    }

    /// Extends the register with the digest of a text as UTF-16 with a NUL behind it.
    pub fn measure_utf16(&mut self, text: &str) {
        let mut hasher = Hasher::new(self.0.algorithm());
        for unit in text.encode_utf16().chain([0]) {
            hasher.update(&unit.to_le_bytes());
        }
        self.extend(&hasher.finish());
    }

    /// Extends the register with a digest of its own bank.
    pub(crate) fn extend(&mut self, digest: &Digest) {
        let mut hasher = Hasher::new(self.0.algorithm());
        hasher.update(self.0.as_bytes());
        hasher.update(digest.as_bytes());
        self.0 = hasher.finish();
    }
}

impl core::fmt::Debug for Pcr {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Pcr({:?})", self.0)
    }
}
