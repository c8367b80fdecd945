//! The crate as a plugin of `boot-core`.

use boot_core::format::FormatError;
use boot_core::{ByteSource, KernelFormat, KernelImage, Priority};

use crate::parse::{NAME, parse};

/// The Multiboot format, of both versions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MultibootFormat;

/// The Multiboot format, for slices of formats.
pub const FORMAT: MultibootFormat = MultibootFormat;

impl KernelFormat for MultibootFormat {
    fn name(&self) -> &'static str {
        NAME
    }

    /// After the formats with a header in a fixed place, before ELF: most Multiboot images are ELF files.
    fn priority(&self) -> Priority {
        Priority::new(Priority::SPECIFIC.value().saturating_add(20))
    }

    fn parse(&self, source: &dyn ByteSource) -> Result<Option<KernelImage>, FormatError> {
        parse(source).map_err(|error| FormatError::new(NAME, error.kind(), error))
    }
}

#[cfg(feature = "registry")]
inventory::submit! { boot_core::registry::Format(&FORMAT) }
