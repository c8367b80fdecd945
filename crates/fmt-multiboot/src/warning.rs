//! Findings about a Multiboot image that do not stop it from being loaded.

use core::fmt;

use boot_core::EntryAbi;

/// A finding about a Multiboot image that does not stop it from being loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Warning {
    /// An entry point was left out, because its layout differs from that of a preferred one.
    EntryLeftOut {
        /// Calling convention of the entry point.
        abi: EntryAbi,
    },
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::EntryLeftOut { abi } => write!(
                f,
                "the {abi} entry point is left out: the load addresses of the Multiboot header and those of the other headers load \
                 the file differently"
            ),
        }
    }
}
