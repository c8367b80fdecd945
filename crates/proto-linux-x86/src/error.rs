//! Errors of the Linux x86 protocol.

use boot_core::{GuestRange, PlanError};
use boot_linux::x86::BootProtocolVersion;

/// The protocol's name.
pub(crate) const NAME: &str = "linux";

/// A boot cannot be planned by the Linux x86 protocol. The source of a [`PlanError::Protocol`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LinuxX86Error {
    /// The memory map does not fit the zero page, and the kernel is too old for `SETUP_E820_EXT`.
    #[error(
        "the memory map has {entries} entries, but a kernel of boot protocol {version} supports at most {max} (2.09 and \
         later support more); merge some regions"
    )]
    TooManyRegions {
        /// Number of entries of the memory map.
        entries: usize,
        /// Number of entries in the zero page.
        max: usize,
        /// Boot protocol version of the kernel.
        version: BootProtocolVersion,
    },
    /// Memory beyond what four-level page tables can identity-map.
    #[error("{range} must be identity-mapped, but four-level page tables map only addresses below {max:#x}")]
    BeyondPageTables {
        /// The memory.
        range: GuestRange,
        /// End of the addresses that can be mapped: exclusive.
        max: u64,
    },
    /// Too much memory to identity-map.
    #[error(
        "kernel, initrd and boot structures need {len:#x} bytes of identity mapping, but at most {max:#x} are supported"
    )]
    MappingTooLarge {
        /// Bytes to map, in pages of 2 MiB.
        len: u64,
        /// Bytes that can be mapped.
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
