//! bzImage as a format plugin of `boot-core`.

use boot_core::{ByteSource, FormatError, KernelFormat, KernelImage, Priority};

use crate::parse::{self, parse};

/// The bzImage format, for the list of formats of [`boot_core::detect`].
pub const FORMAT: BzImageFormat = BzImageFormat;

/// Plugin of the bzImage format.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BzImageFormat;

impl BzImageFormat {
    /// Name of the format: `bzimage`.
    pub const NAME: &'static str = parse::NAME;

    /// Priority of the format: before PE, because a bzImage with an EFI stub is also a PE file.
    pub const PRIORITY: Priority = Priority::SPECIFIC;
}

impl KernelFormat for BzImageFormat {
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
