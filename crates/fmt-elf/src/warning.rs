//! Warnings of the ELF parser.

use core::fmt;

/// Warning of the ELF parser: a finding that does not stop the file from being loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Warning {
    /// `p_paddr` is a virtual address of the kernel, as in the `vmlinux` of arm64 and riscv64. Boot loaders should
    /// start the `Image` instead, which also specifies how much memory the kernel needs.
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
                "the lowest `p_paddr` is {start:#x}, a virtual address, as in a Linux vmlinux; boot the Image that was \
                 made from it instead, which also specifies how much memory the kernel needs"
            ),
        }
    }
}
