//! Errors of the Linux x86 protocol.

use boot_core::{GuestRange, PlanError};
use boot_linux::x86::BootProtocolVersion;

/// The protocol's name.
pub(crate) const NAME: &str = "linux";

/// A boot cannot be planned. The source of a [`PlanError::Protocol`] of [`LinuxX86`](crate::LinuxX86).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LinuxX86Error {
    /// The memory map has more regions than the zero page, and the kernel does not support `SETUP_E820_EXT` (boot protocol
    /// 2.09).
    #[error(
        "the memory map has {regions} regions, but a kernel of boot protocol {version} supports only {max}; kernels of 2.09 \
         and later support more"
    )]
    TooManyRegions {
        /// Number of regions of the memory map.
        regions: usize,
        /// Number of regions in a zero page.
        max: usize,
        /// Boot protocol version of the kernel.
        version: BootProtocolVersion,
    },
    /// A `setup_data` node that does not fit one page.
    #[error("a setup_data node of type {kind} with {len} bytes, but a node has at most {max}")]
    SetupDataTooLong {
        /// Type of the node (`SETUP_*`).
        kind: u32,
        /// Length of its data in bytes.
        len: usize,
        /// The largest length.
        max: usize,
    },
    /// The kernel, the initrd, the RSDP or an ACPI region is at addresses that four-level page tables cannot identity-map.
    #[error(
        "{range} must be identity-mapped, but four-level page tables can only map addresses below {max:#x}"
    )]
    BeyondPageTables {
        /// The addresses.
        range: GuestRange,
        /// End of the addresses that can be mapped, exclusive.
        max: u64,
    },
    /// Kernel, initrd, ACPI regions and the first 4 GiB are larger than the identity mapping may be.
    #[error(
        "kernel, initrd, ACPI regions and the first 4 GiB need {len:#x} bytes of identity mapping, but at most {max:#x} are supported"
    )]
    MappingTooLarge {
        /// Number of bytes to map, in pages of 2 MiB.
        len: u64,
        /// Largest number of bytes.
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
