//! ELF as a format plugin of `boot-core`.

use boot_core::{ByteSource, FormatError, KernelFormat, KernelImage, Priority};

use crate::parse::{self, parse};

/// The ELF format, for the list of formats of [`boot_core::detect`].
pub const FORMAT: ElfFormat = ElfFormat;

/// Plugin of the ELF format.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ElfFormat;

impl ElfFormat {
    /// Name of the format: `elf`.
    pub const NAME: &'static str = parse::NAME;

    /// Priority of the format: the default.
    pub const PRIORITY: Priority = Priority::STANDARD;
}

impl KernelFormat for ElfFormat {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn priority(&self) -> Priority {
        Self::PRIORITY
    }

    fn parse(&self, source: &dyn ByteSource) -> Result<Option<KernelImage>, FormatError> {
        parse(source).map_err(|error| FormatError::new(Self::NAME, error.kind(), error))
    }
}

#[cfg(feature = "registry")]
inventory::submit! { boot_core::registry::Format(&FORMAT) }
