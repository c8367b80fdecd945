//! Warnings of the Multiboot parser.

use core::fmt;

use boot_core::EntryAbi;
use boot_core::format::FormatErrorKind;

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
    /// The Multiboot headers are malformed or unsupported. The kernel has a PVH entry point, so they are not needed.
    HeadersIgnored {
        /// Category of the error.
        kind: FormatErrorKind,
    },
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::EntryLeftOut { abi } => write!(
                f,
                "the {abi} entry point is left out: its load addresses conflict with those of the preferred entry point"
            ),
            Self::HeadersIgnored { kind } => {
                let kind = match kind {
                    FormatErrorKind::Unsupported => "not supported",
                    _ => "malformed",
                };
                write!(
                    f,
                    "the Multiboot header is {kind} and ignored; the kernel has a PVH entry point"
                )
            }
        }
    }
}
