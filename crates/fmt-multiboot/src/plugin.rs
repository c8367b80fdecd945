//! Multiboot as a format plugin of `boot-core`.

use boot_core::format::FormatError;
use boot_core::{ByteSource, KernelFormat, KernelImage, Priority};

use crate::parse::{self, parse};

/// The Multiboot format, for the list of formats of [`boot_core::detect`].
pub const FORMAT: MultibootFormat = MultibootFormat;

/// Plugin of the Multiboot format, for both versions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MultibootFormat;

impl MultibootFormat {
    /// Name of the format: `multiboot`.
    pub const NAME: &'static str = parse::NAME;

    /// Priority of the format: before ELF, because most Multiboot kernels are ELF files; after the formats that have their
    /// magic number at a fixed offset.
    pub const PRIORITY: Priority = Priority::new(Priority::SPECIFIC.value() + 20);
}

impl KernelFormat for MultibootFormat {
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
