//! ELF as a format plugin of `boot-core`.

use boot_core::{ByteSource, FormatError, KernelFormat, KernelImage};

use crate::parse::{self, parse};

/// The ELF format, for the list of formats of [`boot_core::detect`].
pub const FORMAT: ElfFormat = ElfFormat;

/// Plugin of the ELF format.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ElfFormat;

impl ElfFormat {
    /// Name of the format.
    pub const NAME: &'static str = parse::NAME;
}

impl KernelFormat for ElfFormat {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn parse(&self, source: &dyn ByteSource) -> Result<Option<KernelImage>, FormatError> {
        parse(source).map_err(|error| FormatError::new(Self::NAME, error.kind(), error))
    }
}

#[cfg(feature = "registry")]
inventory::submit! { boot_core::registry::Format(&FORMAT) }
