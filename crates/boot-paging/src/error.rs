//! Errors.

use core::fmt;

/// Part of a [`Mapping`](crate::Mapping).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum MappingPart {
    /// The virtual address.
    Virtual,
    /// The physical address.
    Physical,
    /// The length.
    Length,
}

impl fmt::Display for MappingPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Virtual => "virtual address",
            Self::Physical => "physical address",
            Self::Length => "length",
        })
    }
}

/// Error in a mapping. The tables are as before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MapError {
    /// A part is not a multiple of 4 KiB.
    #[error("the {part} {value:#x} of the mapping is not a multiple of 4 KiB")]
    Misaligned {
        /// The part.
        part: MappingPart,
        /// Its value.
        value: u64,
    },
    /// The length is 0.
    #[error("the mapping of {virt:#x} is empty")]
    Empty {
        /// The virtual address.
        virt: u64,
    },
    /// The virtual range is not canonical, or leaves its half of the address space.
    #[error(
        "the virtual range of {len:#x} bytes at {virt:#x} is not within the address space of {bits} bits"
    )]
    NotCanonical {
        /// The virtual address.
        virt: u64,
        /// The length.
        len: u64,
        /// Width of virtual addresses.
        bits: u32,
    },
    /// The physical range exceeds the width of the entries.
    #[error("the physical range of {len:#x} bytes at {phys:#x} is not within {bits} bits")]
    PhysicalTooLarge {
        /// The physical address.
        phys: u64,
        /// The length.
        len: u64,
        /// Width of physical addresses.
        bits: u32,
    },
    /// A part of the virtual range is mapped.
    #[error("the virtual address {virt:#x} is already mapped, to {phys:#x}")]
    Mapped {
        /// The first virtual address that is mapped.
        virt: u64,
        /// Where it is mapped.
        phys: u64,
    },
    /// A part of the virtual range is not mapped.
    #[error("the virtual address {virt:#x} is not mapped")]
    NotMapped {
        /// The first virtual address that is not mapped.
        virt: u64,
    },
    /// The tables do not fit.
    #[error("the mapping needs at least {needed} tables, and {available} are left")]
    TooManyTables {
        /// Number of tables that it takes, at least.
        needed: usize,
        /// Number of tables that are left.
        available: usize,
    },
}

/// Error in the place of page tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TablesError {
    /// The address is not a multiple of 4 KiB.
    #[error("the address {addr:#x} of the page tables is not a multiple of 4 KiB")]
    Misaligned {
        /// The address.
        addr: u64,
    },
    /// The tables exceed the width of the entries.
    #[error("{tables} page tables at {addr:#x} are not within the {bits} bits of a physical address")]
    TooLarge {
        /// The address.
        addr: u64,
        /// The limit of the number of tables.
        tables: usize,
        /// Width of physical addresses.
        bits: u32,
    },
    /// There is no space for the root table.
    #[error("page tables need space for at least one table, the root")]
    NoRoot,
}

/// Reason why page tables do not translate an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TranslateError {
    /// The address is not canonical.
    #[error("the virtual address {virt:#x} is not canonical")]
    NotCanonical {
        /// The address.
        virt: u64,
    },
    /// Nothing is mapped there.
    #[error("the virtual address {virt:#x} is not mapped: its entry of level {level} is not present")]
    NotMapped {
        /// The address.
        virt: u64,
        /// The level of the entry that is not present; 0 is the level of 4 KiB pages.
        level: u8,
    },
    /// An entry has an encoding that the architecture reserves, or that of an extension (Svnapot, Svpbmt).
    #[error(
        "the entry {entry:#018x} of level {level} at {addr:#x} has a reserved encoding or one of an extension"
    )]
    Reserved {
        /// The physical address of the entry.
        addr: u64,
        /// The entry.
        entry: u64,
        /// Its level.
        level: u8,
    },
    /// An entry is not in memory.
    #[error("the entry of level {level} at {addr:#x} is not in memory")]
    NotInMemory {
        /// The physical address of the entry.
        addr: u64,
        /// Its level.
        level: u8,
    },
    /// The tables are more than the limit of the walk.
    #[error("there are more than {limit} page tables")]
    TooManyTables {
        /// The limit.
        limit: usize,
    },
}
