//! Structures of SMBIOS 3.7, in the order of the specification. Strings are numbers from 1 on; 0 is none.

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{Immutable, IntoBytes};

/// The 64-bit entry point (section 5.2.2).
#[derive(Clone, Copy, Debug, Immutable, IntoBytes)]
#[repr(C)]
pub(crate) struct EntryPoint {
    pub(crate) anchor: [u8; 5],
    /// All bytes of the entry point add up to 0.
    pub(crate) checksum: u8,
    pub(crate) length: u8,
    pub(crate) major_version: u8,
    pub(crate) minor_version: u8,
    pub(crate) document_revision: u8,
    pub(crate) revision: u8,
    pub(crate) reserved: u8,
    pub(crate) max_size: U32,
    pub(crate) address: U64,
}

const _: () = assert!(size_of::<EntryPoint>() == 24);

/// The start of each structure (section 6.1.2).
#[derive(Clone, Copy, Debug, Immutable, IntoBytes)]
#[repr(C)]
pub(crate) struct Header {
    pub(crate) kind: u8,
    pub(crate) length: u8,
    pub(crate) handle: U16,
}

/// BIOS information, type 0 (section 7.1), behind its header.
#[derive(Clone, Copy, Debug, Immutable, IntoBytes)]
#[repr(C)]
pub(crate) struct Bios {
    pub(crate) vendor: u8,
    pub(crate) version: u8,
    pub(crate) start_segment: U16,
    pub(crate) release_date: u8,
    pub(crate) rom_size: u8,
    pub(crate) characteristics: U64,
    pub(crate) characteristics_extension: [u8; 2],
    pub(crate) release: [u8; 2],
    pub(crate) controller_release: [u8; 2],
    pub(crate) extended_rom_size: U16,
}

const _: () = assert!(size_of::<Bios>() == 0x1a - 4);

/// System information, type 1 (section 7.2), behind its header.
#[derive(Clone, Copy, Debug, Immutable, IntoBytes)]
#[repr(C)]
pub(crate) struct System {
    pub(crate) manufacturer: u8,
    pub(crate) product_name: u8,
    pub(crate) version: u8,
    pub(crate) serial_number: u8,
    pub(crate) uuid: [u8; 16],
    pub(crate) wake_up: u8,
    pub(crate) sku_number: u8,
    pub(crate) family: u8,
}

const _: () = assert!(size_of::<System>() == 0x1b - 4);

/// System enclosure, type 3 (section 7.4), behind its header, without contained elements.
#[derive(Clone, Copy, Debug, Immutable, IntoBytes)]
#[repr(C)]
pub(crate) struct Chassis {
    pub(crate) manufacturer: u8,
    pub(crate) kind: u8,
    pub(crate) version: u8,
    pub(crate) serial_number: u8,
    pub(crate) asset_tag: u8,
    /// Boot-up, power supply, thermal and security.
    pub(crate) states: [u8; 4],
    pub(crate) oem: U32,
    pub(crate) height: u8,
    pub(crate) power_cords: u8,
    pub(crate) elements: [u8; 2],
    pub(crate) sku_number: u8,
}

const _: () = assert!(size_of::<Chassis>() == 0x16 - 4);
