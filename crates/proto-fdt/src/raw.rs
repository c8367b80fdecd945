//! Structures of the flattened device tree (Devicetree Specification v0.4, "Flattened Devicetree (DTB) Format").

use core::mem::offset_of;

use zerocopy::big_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// The header (section "Header").
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
#[expect(missing_docs, reason = "fields are named and explained in the specification")]
pub struct Header {
    pub magic: U32,
    pub totalsize: U32,
    pub off_dt_struct: U32,
    pub off_dt_strings: U32,
    pub off_mem_rsvmap: U32,
    pub version: U32,
    pub last_comp_version: U32,
    pub boot_cpuid_phys: U32,
    pub size_dt_strings: U32,
    pub size_dt_struct: U32,
}

const _: () = assert!(size_of::<Header>() == 40 && offset_of!(Header, size_dt_struct) == 36);

/// An entry of the memory reservation block (section "Memory Reservation Block"); an entry of zeros ends the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
#[expect(missing_docs, reason = "fields are named and explained in the specification")]
pub struct ReserveEntry {
    pub address: U64,
    pub size: U64,
}

const _: () = assert!(size_of::<ReserveEntry>() == 16 && offset_of!(ReserveEntry, size) == 8);

/// The start of a property, after its token (section "Structure Block").
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
#[expect(missing_docs, reason = "fields are named and explained in the specification")]
pub struct Property {
    pub len: U32,
    pub nameoff: U32,
}

const _: () = assert!(size_of::<Property>() == 8 && offset_of!(Property, nameoff) == 4);

/// `magic` of the header.
pub const MAGIC: u32 = 0xd00d_feed;
/// The version that this crate reads and writes.
pub const VERSION: u32 = 17;
/// The oldest version whose readers can read version 17.
pub const LAST_COMP_VERSION: u32 = 16;

/// Tokens of the structure block.
pub mod token {
    /// Start of a node; its name follows.
    pub const BEGIN_NODE: u32 = 1;
    /// End of a node.
    pub const END_NODE: u32 = 2;
    /// A property; [`Property`](super::Property) and the value follow.
    pub const PROP: u32 = 3;
    /// Ignored.
    pub const NOP: u32 = 4;
    /// End of the structure block.
    pub const END: u32 = 9;
}
