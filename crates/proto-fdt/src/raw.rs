//! Structures of the flattened device tree (Devicetree Specification v0.4, "Flattened Devicetree (DTB) Format").

use core::mem::offset_of;

use zerocopy::big_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// The header (section "Header").
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Header {
    /// [`MAGIC`].
    pub magic: U32,
    /// Length of the FDT in bytes.
    pub totalsize: U32,
    /// Offset of the structure block in bytes, a multiple of 4.
    pub off_dt_struct: U32,
    /// Offset of the strings block in bytes.
    pub off_dt_strings: U32,
    /// Offset of the memory reservation block in bytes, a multiple of 8.
    pub off_mem_rsvmap: U32,
    /// Version of the format.
    pub version: U32,
    /// Lowest version that the format is compatible with.
    pub last_comp_version: U32,
    /// Physical id of the boot CPU: the `reg` of its node.
    pub boot_cpuid_phys: U32,
    /// Length of the strings block in bytes.
    pub size_dt_strings: U32,
    /// Length of the structure block in bytes.
    pub size_dt_struct: U32,
}

const _: () = assert!(size_of::<Header>() == 40 && offset_of!(Header, size_dt_struct) == 36);

/// An entry of the memory reservation block (section "Memory Reservation Block"); an entry of zeros ends the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct ReserveEntry {
    /// Physical address.
    pub address: U64,
    /// Length in bytes.
    pub size: U64,
}

const _: () = assert!(size_of::<ReserveEntry>() == 16 && offset_of!(ReserveEntry, size) == 8);

/// The part of a property between its token and its value (section "Structure Block").
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Property {
    /// Length of the value in bytes. Padding to a multiple of 4 follows the value.
    pub len: U32,
    /// Offset of the name in the strings block.
    pub nameoff: U32,
}

const _: () = assert!(size_of::<Property>() == 8 && offset_of!(Property, nameoff) == 4);

/// `magic` of the header.
pub const MAGIC: u32 = 0xd00d_feed;
/// The version that this crate reads and writes.
pub const VERSION: u32 = 17;
/// The lowest version that version 17 is compatible with.
pub const LAST_COMP_VERSION: u32 = 16;

/// Tokens of the structure block.
pub mod token {
    /// Start of a node. The name follows, NUL-terminated and padded to a multiple of 4.
    pub const BEGIN_NODE: u32 = 1;
    /// End of a node.
    pub const END_NODE: u32 = 2;
    /// A property. A [`Property`](super::Property) and the value follow.
    pub const PROP: u32 = 3;
    /// No operation: readers skip it.
    pub const NOP: u32 = 4;
    /// End of the structure block.
    pub const END: u32 = 9;
}
