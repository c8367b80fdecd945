//! `hvm_start_info` and its tables (Xen `xen/include/public/arch-x86/hvm/start_info.h`). Names are without the prefix `hvm_`.

use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// `XEN_HVM_START_MAGIC_VALUE`: "xEn3" with bit 7 of the "E" set.
pub const MAGIC: u32 = 0x336e_c578;

/// Version of [`StartInfo`]. Version 0 ends before the memory map.
pub const VERSION: u32 = 1;

/// `hvm_start_info`: the structure whose address the guest gets in `EBX`. An address of zero means "not present".
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct StartInfo {
    /// [`MAGIC`].
    pub magic: U32,
    /// [`VERSION`].
    pub version: U32,
    /// Xen's `SIF_` flags. Zero for a guest without privileges.
    pub flags: U32,
    /// Number of entries of the module list.
    pub nr_modules: U32,
    /// Physical address of the module list.
    pub modlist_paddr: U64,
    /// Physical address of the NUL-terminated command line.
    pub cmdline_paddr: U64,
    /// Physical address of the ACPI RSDP.
    pub rsdp_paddr: U64,
    /// Physical address of the memory map.
    pub memmap_paddr: U64,
    /// Number of entries of the memory map.
    pub memmap_entries: U32,
    /// Zero.
    pub reserved: U32,
}

/// `hvm_modlist_entry`: a module, an entry of the module list.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct ModlistEntry {
    /// Physical address of the module.
    pub paddr: U64,
    /// Size of the module in bytes.
    pub size: U64,
    /// Physical address of the module's NUL-terminated command line.
    pub cmdline_paddr: U64,
    /// Zero.
    pub reserved: U64,
}

/// `hvm_memmap_table_entry`: a region of memory, an entry of the memory map.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct MemmapEntry {
    /// First address.
    pub addr: U64,
    /// Size in bytes.
    pub size: U64,
    /// `type`: the ACPI address range type, such as 1 for RAM; see
    /// [`RegionKind::e820_type`](boot_core::RegionKind::e820_type).
    pub kind: U32,
    /// Zero.
    pub reserved: U32,
}

const _: () = {
    use core::mem::offset_of;
    assert!(size_of::<StartInfo>() == 56);
    assert!(offset_of!(StartInfo, magic) == 0);
    assert!(offset_of!(StartInfo, version) == 4);
    assert!(offset_of!(StartInfo, flags) == 8);
    assert!(offset_of!(StartInfo, nr_modules) == 12);
    assert!(offset_of!(StartInfo, modlist_paddr) == 16);
    assert!(offset_of!(StartInfo, cmdline_paddr) == 24);
    assert!(offset_of!(StartInfo, rsdp_paddr) == 32);
    assert!(offset_of!(StartInfo, memmap_paddr) == 40);
    assert!(offset_of!(StartInfo, memmap_entries) == 48);
    assert!(offset_of!(StartInfo, reserved) == 52);
    assert!(size_of::<ModlistEntry>() == 32);
    assert!(offset_of!(ModlistEntry, size) == 8);
    assert!(offset_of!(ModlistEntry, cmdline_paddr) == 16);
    assert!(offset_of!(ModlistEntry, reserved) == 24);
    assert!(size_of::<MemmapEntry>() == 24);
    assert!(offset_of!(MemmapEntry, size) == 8);
    assert!(offset_of!(MemmapEntry, kind) == 16);
    assert!(offset_of!(MemmapEntry, reserved) == 20);
};
