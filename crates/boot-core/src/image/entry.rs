//! Entry points.

use core::fmt;

/// The calling convention of an entry point: which registers and structures the code there expects.
///
/// The set is open: the constants are the ABIs of Linux, PVH and ELF, and other crates define theirs with
/// [`new`](Self::new). ABIs are equal if their names are.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct EntryAbi(&'static str);

impl EntryAbi {
    /// The Linux x86 64-bit boot protocol: long mode, `rsi` holds the address of the zero page (boot.rst, "64-bit Boot
    /// Protocol").
    pub const LINUX_X86_64: Self = Self::new("linux-x86-64");
    /// The Linux x86 32-bit boot protocol: protected mode, `esi` holds the address of the zero page (boot.rst,
    /// "32-bit Boot Protocol").
    pub const LINUX_X86_32: Self = Self::new("linux-x86-32");
    /// The Linux x86 16-bit boot protocol: real mode, `ds` holds the segment of the setup code (boot.rst, "Running
    /// the Kernel"). The only entry of programs that have a Linux setup header but need a PC BIOS.
    pub const LINUX_X86_16: Self = Self::new("linux-x86-16");
    /// PVH: protected mode, `ebx` holds the address of the `hvm_start_info` (Xen `pvh.pandoc`).
    pub const PVH: Self = Self::new("pvh");
    /// An arm64 `Image`: `x0` holds the address of the device tree (arm64 booting.rst).
    pub const ARM64_IMAGE: Self = Self::new("arm64-image");
    /// A riscv `Image`: `a0` holds the hart id, `a1` the address of the device tree (riscv boot.rst).
    pub const RISCV_IMAGE: Self = Self::new("riscv-image");
    /// The entry point of a 64-bit ELF file (`e_entry`), which does not specify a calling convention.
    pub const ELF64: Self = Self::new("elf64");
    /// The entry point of a 32-bit ELF file (`e_entry`), which does not specify a calling convention.
    pub const ELF32: Self = Self::new("elf32");

    /// The ABI with this name: lower case, unique among the ABIs in use.
    #[must_use]
    pub const fn new(name: &'static str) -> Self {
        Self(name)
    }

    /// The name, as in command lines and machine-readable output.
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.0
    }
}

impl fmt::Display for EntryAbi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl fmt::Debug for EntryAbi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EntryAbi({})", self.name())
    }
}

/// An address at which the boot CPU can start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct EntryPoint {
    /// Calling convention of the code there.
    pub abi: EntryAbi,
    /// Link address; [`PlacedKernel::entry`](crate::PlacedKernel::entry) has the final one.
    pub addr: u64,
}

impl EntryPoint {
    /// An entry point at a link address.
    #[must_use]
    pub const fn new(abi: EntryAbi, addr: u64) -> Self {
        Self { abi, addr }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_are_their_names() {
        const OWN: EntryAbi = EntryAbi::new("own");
        assert_eq!(OWN.name(), "own");
        assert_eq!(std::format!("{OWN} {OWN:?} {OWN:>4}"), "own EntryAbi(own)  own");
        assert_eq!(EntryAbi::new("pvh"), EntryAbi::PVH);
        assert_ne!(OWN, EntryAbi::PVH);
        let entry = EntryPoint::new(OWN, 7);
        assert_eq!((entry.abi, entry.addr), (OWN, 7));
    }
}
