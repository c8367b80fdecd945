//! Attributes of pages.

use bitflags::bitflags;

bitflags! {
    /// Access to a page beyond reads, which every page of [`PageTables`](crate::PageTables) permits.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
    pub struct Access: u8 {
        /// Writes.
        const WRITE = 1 << 0;
        /// Instruction fetches, by the privilege level that the page belongs to. An x86_64 supervisor can execute user pages
        /// unless `CR4.SMEP` is set; those of arm64 and riscv64 cannot.
        const EXECUTE = 1 << 1;
        /// The page belongs to user mode (x86_64 ring 3, arm64 EL0, riscv64 U-mode). The supervisor accesses it within
        /// the limits of `CR4.SMAP`, `PSTATE.PAN` or `sstatus.SUM`.
        const USER = 1 << 2;
        /// The page is not writable, and has a flag that the CPU ignores, for software: a write takes a copy of the page, which is then
        /// writable. The flag is bit 9 of x86_64's entries, bit 55 of arm64's descriptors, and bit 8 of riscv64's entries. A mapping
        /// with it is not writable, also with [`WRITE`](Self::WRITE); the flag of an entry that is writable has no meaning.
        const COPY_ON_WRITE = 1 << 3;
    }
}

/// Memory type of a page.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MemoryType {
    /// Write-back cacheable memory. On arm64 index 0 of [`MAIR_EL1`], inner shareable.
    #[default]
    Normal,
    /// Device memory: uncacheable on x86_64 (PCD and PWT with the power-on value of the PAT), Device-nGnRE on arm64 (index 1 of
    /// [`MAIR_EL1`]). On riscv64 the physical memory attributes of the platform decide, and pages of both types are the same.
    Device,
}

/// Value of the register `MAIR_EL1` that [`MemoryType`] refers to: attribute 0 is normal write-back memory, attribute 1
/// Device-nGnRE (Arm ARM, D24.2, `MAIR_EL1`).
pub const MAIR_EL1: u64 = 0x04ff;

/// Attributes of a page.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Attributes {
    /// Access beyond reads.
    pub access: Access,
    /// Memory type.
    pub memory: MemoryType,
}

impl Attributes {
    /// Normal memory with this access.
    #[must_use]
    pub const fn normal(access: Access) -> Self {
        Self {
            access,
            memory: MemoryType::Normal,
        }
    }

    /// Device memory that the supervisor reads and writes.
    pub const DEVICE: Self = Self {
        access: Access::WRITE,
        memory: MemoryType::Device,
    };
}
