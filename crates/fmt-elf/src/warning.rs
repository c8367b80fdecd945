//! Findings about an ELF file that do not stop it from being loaded.

use core::fmt;

/// A finding about an ELF file that does not stop it from being loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Warning {
    /// The file is linked to a kernel's virtual address, as the `vmlinux` of arm64 and riscv64 is: its `Image` is what
    /// boot loaders are meant to start, and only the `Image` specifies how much memory the kernel needs.
    VirtualLinkAddress {
        /// Lowest link address.
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
