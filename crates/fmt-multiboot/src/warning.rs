//! Warnings of the Multiboot parser.

use core::fmt;

use boot_core::EntryAbi;

/// Warning of the Multiboot parser: a finding that does not stop the file from being loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Warning {
    /// An entry point of the file that the image does not have: its load addresses conflict with those of the preferred
    /// entry point.
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
                "the {abi} entry point is left out: its load addresses conflict with those of the preferred entry point"
            ),
        }
    }
}
