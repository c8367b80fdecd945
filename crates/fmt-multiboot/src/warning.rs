//! Warnings of the Multiboot parser.

use core::fmt;

use boot_core::EntryAbi;
use boot_core::format::FormatErrorKind;

use crate::error::Field;

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
    /// The Multiboot2 header has no end tag: its last tag ends with the header.
    NoEndTag {
        /// File offset of the end of the header.
        end: u64,
    },
    /// The size of the end tag of the Multiboot2 header is not 8.
    EndTagSize {
        /// The field `size`.
        field: Field,
        /// Its value.
        size: u32,
    },
    /// The Multiboot2 header has two tags of a type that it may have only once. The first one counts.
    DuplicateTag {
        /// The type.
        kind: u16,
        /// File offset of the second tag.
        offset: u64,
    },
    /// The relocatable tag of the Multiboot2 header is ignored: its `align` is not a power of two, or its `max_addr` is less
    /// than its `min_addr`.
    RelocatableIgnored {
        /// File offset of the tag.
        offset: u64,
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
            Self::NoEndTag { end } => {
                write!(
                    f,
                    "the Multiboot2 header ends at byte {end:#x} without an end tag"
                )
            }
            Self::EndTagSize { field, size } => {
                write!(
                    f,
                    "{field} of the end tag is {size:#x}, expected 0x8; it is ignored"
                )
            }
            Self::DuplicateTag { kind, offset } => write!(
                f,
                "there is a second Multiboot2 header tag of type {kind} at byte {offset:#x}; the first one is used"
            ),
            Self::RelocatableIgnored { offset } => write!(
                f,
                "the relocatable tag of the Multiboot2 header at byte {offset:#x} is ignored: its alignment is not a power of \
                 two, or its addresses are not in order"
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
