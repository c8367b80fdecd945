//! Warnings of the ELF parser.

use core::fmt;

/// Warning of the ELF parser: a finding that does not stop the file from being loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Warning {
    /// The physical addresses of the file are a kernel's virtual addresses, as in the `vmlinux` of arm64 and riscv64. Boot
    /// loaders should start the `Image` instead, which also specifies how much memory the kernel needs.
    VirtualLinkAddress {
        /// Lowest address of a segment.
        start: u64,
    },
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::VirtualLinkAddress { start } => write!(
                f,
                "the file is linked to {start:#x}, a kernel's virtual address, as a Linux vmlinux is; boot the Image that was made from \
                 it instead: only the Image specifies how much memory the kernel needs for its early page tables behind the BSS"
            ),
        }
    }
}
