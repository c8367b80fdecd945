//! What can go wrong beside what boot-core already has words for.

use boot_core::{GuestRange, PlanError};
use boot_linux::x86::BootProtocolVersion;

use crate::plugin::NAME;

/// Why a boot cannot be planned by the Linux x86 protocol.
///
/// Planning reports it as the source of a [`PlanError::Protocol`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LinuxX86Error {
    /// A memory map longer than the zero page holds, for a kernel without the list that takes the rest.
    #[error(
        "the memory map has {entries} entries, but a kernel of boot protocol {version} takes at most {max} (more need \
         2.09); merge some regions"
    )]
    TooManyRegions {
        /// How many entries the memory map has.
        entries: usize,
        /// How many the zero page holds.
        max: usize,
        /// The kernel's boot protocol version.
        version: BootProtocolVersion,
    },
    /// Memory that four-level page tables cannot map to itself.
    #[error("{range} must be mapped at entry, but page tables of four levels end at {max:#x}")]
    BeyondPageTables {
        /// The memory.
        range: GuestRange,
        /// The end of what can be mapped: exclusive.
        max: u64,
    },
    /// More memory to map at entry than page tables are made for.
    #[error(
        "kernel, initrd and boot structures span {len:#x} bytes, but at most {max:#x} can be mapped at entry"
    )]
    TooMuchToMap {
        /// How much there is to map, in bytes.
        len: u64,
        /// How much can be mapped.
        max: u64,
    },
}

impl From<LinuxX86Error> for PlanError {
    fn from(error: LinuxX86Error) -> Self {
        Self::Protocol {
            protocol: NAME,
            source: alloc::boxed::Box::new(error),
        }
    }
}
