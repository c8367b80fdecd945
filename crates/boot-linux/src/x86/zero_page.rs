//! The zero page (`struct boot_params`), e820 entries and `setup_data` nodes.
//!
//! Offsets and names: Linux `arch/x86/include/uapi/asm/bootparam.h` and `Documentation/arch/x86/zero-page.rst`. The
//! setup header at 0x1f1 is [`SetupHeader`].

use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::setup_header::SetupHeader;

/// Maximum number of memory map entries in the zero page. Further entries are in `setup_data` nodes of type
/// [`SETUP_E820_EXT`].
pub const E820_MAX_ENTRIES_ZEROPAGE: usize = 128;

/// Value of [`SetupData::kind`] for memory map entries that do not fit the zero page.
pub const SETUP_E820_EXT: u32 = 1;

/// `SETUP_RNG_SEED`: a [`SetupData`] node with random bytes, which Linux since 6.0 adds to its entropy pool and then clears.
/// Older kernels ignore it.
pub const SETUP_RNG_SEED: u32 = 9;

/// Value of `type_of_loader` for a boot loader without an assigned id (boot.rst, "type_of_loader").
pub const LOADER_UNDEFINED: u8 = 0xff;

/// Value of `vid_mode` for `vga=normal` (boot.rst, "Special Command Line Options").
pub const VID_MODE_NORMAL: u16 = 0xffff;

/// An entry of the memory map: `struct boot_e820_entry`.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct E820Entry {
    /// First address of the range.
    pub addr: U64,
    /// Length of the range in bytes.
    pub size: U64,
    /// Address range type (ACPI 6.5, table 15.4): 1 for RAM, 2 for reserved memory, 3 for ACPI tables, 4 for ACPI NVS.
    pub kind: U32,
}

/// Header of a node of the list that the setup header's `setup_data` points to. `len` bytes of data follow it.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct SetupData {
    /// Physical address of the next node; zero in the last one.
    pub next: U64,
    /// Type of the data, one of the `SETUP_` constants of Linux such as [`SETUP_E820_EXT`].
    pub kind: U32,
    /// Length of the data in bytes, without this header.
    pub len: U32,
}

/// The zero page: `struct boot_params`, 4 KiB. A boot loader creates it with `new_zeroed` of zerocopy's `FromZeros`,
/// copies the setup header of the kernel to `hdr`, and sets the other fields that the protocol requires.
#[derive(Clone, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
#[expect(missing_docs, reason = "fields are named and explained in zero-page.rst")]
pub struct BootParams {
    pub screen_info: [u8; 0x40],
    pub apm_bios_info: [u8; 0x14],
    _pad2: [u8; 4],
    pub tboot_addr: U64,
    pub ist_info: [u8; 0x10],
    pub acpi_rsdp_addr: U64,
    _pad3: [u8; 8],
    pub hd0_info: [u8; 0x10],
    pub hd1_info: [u8; 0x10],
    pub sys_desc_table: [u8; 0x10],
    pub olpc_ofw_header: [u8; 0x10],
    pub ext_ramdisk_image: U32,
    pub ext_ramdisk_size: U32,
    pub ext_cmd_line_ptr: U32,
    _pad4: [u8; 0x70],
    pub cc_blob_address: U32,
    pub edid_info: [u8; 0x80],
    pub efi_info: [u8; 0x20],
    pub alt_mem_k: U32,
    pub scratch: U32,
    pub e820_entries: u8,
    pub eddbuf_entries: u8,
    pub edd_mbr_sig_buf_entries: u8,
    pub kbd_status: u8,
    pub secure_boot: u8,
    _pad5: [u8; 2],
    pub sentinel: u8,
    _pad6: u8,
    pub hdr: SetupHeader,
    _pad7: [u8; 0x290 - 0x26c],
    pub edd_mbr_sig_buffer: [U32; 16],
    pub e820_table: [E820Entry; E820_MAX_ENTRIES_ZEROPAGE],
    _pad8: [u8; 48],
    pub eddbuf: [u8; 0x1ec],
    _pad9: [u8; 276],
}

const _: () = {
    use core::mem::offset_of;
    assert!(size_of::<E820Entry>() == 20);
    assert!(size_of::<SetupData>() == 16);
    assert!(size_of::<BootParams>() == 0x1000);
    assert!(offset_of!(BootParams, apm_bios_info) == 0x040);
    assert!(offset_of!(BootParams, tboot_addr) == 0x058);
    assert!(offset_of!(BootParams, ist_info) == 0x060);
    assert!(offset_of!(BootParams, acpi_rsdp_addr) == 0x070);
    assert!(offset_of!(BootParams, hd0_info) == 0x080);
    assert!(offset_of!(BootParams, hd1_info) == 0x090);
    assert!(offset_of!(BootParams, sys_desc_table) == 0x0a0);
    assert!(offset_of!(BootParams, olpc_ofw_header) == 0x0b0);
    assert!(offset_of!(BootParams, ext_ramdisk_image) == 0x0c0);
    assert!(offset_of!(BootParams, ext_ramdisk_size) == 0x0c4);
    assert!(offset_of!(BootParams, ext_cmd_line_ptr) == 0x0c8);
    assert!(offset_of!(BootParams, cc_blob_address) == 0x13c);
    assert!(offset_of!(BootParams, edid_info) == 0x140);
    assert!(offset_of!(BootParams, efi_info) == 0x1c0);
    assert!(offset_of!(BootParams, alt_mem_k) == 0x1e0);
    assert!(offset_of!(BootParams, scratch) == 0x1e4);
    assert!(offset_of!(BootParams, e820_entries) == 0x1e8);
    assert!(offset_of!(BootParams, eddbuf_entries) == 0x1e9);
    assert!(offset_of!(BootParams, edd_mbr_sig_buf_entries) == 0x1ea);
    assert!(offset_of!(BootParams, kbd_status) == 0x1eb);
    assert!(offset_of!(BootParams, secure_boot) == 0x1ec);
    assert!(offset_of!(BootParams, sentinel) == 0x1ef);
    assert!(offset_of!(BootParams, hdr) == 0x1f1);
    assert!(offset_of!(BootParams, edd_mbr_sig_buffer) == 0x290);
    assert!(offset_of!(BootParams, e820_table) == 0x2d0);
    assert!(offset_of!(BootParams, eddbuf) == 0xd00);
};
