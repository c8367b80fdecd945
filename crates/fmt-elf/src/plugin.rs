//! The crate as a plugin of `boot-core`.

use boot_core::format::FormatError;
use boot_core::{ByteSource, KernelFormat, KernelImage};

/// The name of the format.
pub(crate) const NAME: &str = "elf";

/// The ELF format.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ElfFormat;

/// The ELF format, for slices of formats.
pub const FORMAT: ElfFormat = ElfFormat;

impl KernelFormat for ElfFormat {
    fn name(&self) -> &'static str {
        NAME
    }

    fn parse(&self, source: &dyn ByteSource) -> Result<Option<KernelImage>, FormatError> {
        crate::parse(source).map_err(|error| FormatError::new(NAME, error.kind(), error))
    }
}

#[cfg(feature = "registry")]
inventory::submit! { boot_core::registry::Format(&FORMAT) }
