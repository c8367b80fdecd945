//! Multiboot 1 as in its specification, version 0.6.96: the header of a kernel (3.1) and the information that it is given
//! (3.3). Names are those of the specification; nothing here is validated.

use core::mem::offset_of;

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// `magic` of a header.
pub const HEADER_MAGIC: u32 = 0x1bad_b002;

/// What a boot loader puts into `eax`.
pub const BOOTLOADER_MAGIC: u32 = 0x2bad_b002;

/// The header lies in this many bytes from the start of the file.
pub const SEARCH_LEN: usize = 8192;

/// The alignment of the header in the file, in bytes.
pub const HEADER_ALIGN: usize = 4;

/// Bits of the header's `flags`. The boot loader must fail where it does not provide what bits 0 to 15 ask for.
pub mod header_flags {
    /// Modules must be aligned to pages of 4 KiB.
    pub const PAGE_ALIGN: u32 = 1 << 0;
    /// `mem_lower` and `mem_upper` must be given.
    pub const MEMORY_INFO: u32 = 1 << 1;
    /// Information about the video mode must be given.
    pub const VIDEO_MODE: u32 = 1 << 2;
    /// The address fields are valid, and count in place of those of the executable's own header.
    pub const ADDRESSES: u32 = 1 << 16;
    /// The bits that are requirements.
    pub const REQUIREMENTS: u32 = 0xffff;
}

/// The fields of the header that every kernel has.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct Header {
    /// [`HEADER_MAGIC`].
    pub magic: U32,
    /// See [`header_flags`].
    pub flags: U32,
    /// Makes the sum of the three fields zero.
    pub checksum: U32,
}

const _: () = assert!(size_of::<Header>() == 12 && offset_of!(Header, checksum) == 8);

impl Header {
    /// Whether magic number and checksum are right.
    #[must_use]
    pub fn is_valid(&self) -> bool {
        let sum = self
            .magic
            .get()
            .wrapping_add(self.flags.get())
            .wrapping_add(self.checksum.get());
        self.magic.get() == HEADER_MAGIC && sum == 0
    }
}

/// The address fields, valid with [`header_flags::ADDRESSES`]. They follow [`Header`].
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct AddressFields {
    /// Physical address that the header is loaded at.
    pub header_addr: U32,
    /// Physical address of the first byte that is loaded.
    pub load_addr: U32,
    /// Physical address after the last byte that is loaded; zero: up to the end of the file.
    pub load_end_addr: U32,
    /// Physical address after the last byte of the BSS; zero: there is none.
    pub bss_end_addr: U32,
    /// Physical address of the entry point.
    pub entry_addr: U32,
}

const _: () = assert!(size_of::<AddressFields>() == 20 && offset_of!(AddressFields, entry_addr) == 16);

/// The graphics fields, valid with [`header_flags::VIDEO_MODE`]. They follow [`AddressFields`], which are there then.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct VideoFields {
    /// 0: a linear graphics mode; 1: EGA text mode.
    pub mode_type: U32,
    /// Columns, in pixels or characters; zero: no preference.
    pub width: U32,
    /// Rows, in pixels or characters; zero: no preference.
    pub height: U32,
    /// Bits a pixel; zero: no preference, or text mode.
    pub depth: U32,
}

const _: () = assert!(size_of::<VideoFields>() == 16 && offset_of!(VideoFields, depth) == 12);

/// Bits of [`Info::flags`]: which fields are valid.
pub mod info_flags {
    /// `mem_lower` and `mem_upper`.
    pub const MEMORY: u32 = 1 << 0;
    /// `boot_device`.
    pub const BOOT_DEVICE: u32 = 1 << 1;
    /// `cmdline`.
    pub const CMDLINE: u32 = 1 << 2;
    /// `mods_count` and `mods_addr`.
    pub const MODULES: u32 = 1 << 3;
    /// `syms` holds an a.out symbol table.
    pub const AOUT_SYMBOLS: u32 = 1 << 4;
    /// `syms` holds an ELF section header table.
    pub const ELF_SECTIONS: u32 = 1 << 5;
    /// `mmap_length` and `mmap_addr`.
    pub const MEMORY_MAP: u32 = 1 << 6;
    /// `drives_length` and `drives_addr`.
    pub const DRIVES: u32 = 1 << 7;
    /// `config_table`.
    pub const CONFIG_TABLE: u32 = 1 << 8;
    /// `boot_loader_name`.
    pub const BOOT_LOADER_NAME: u32 = 1 << 9;
    /// `apm_table`.
    pub const APM_TABLE: u32 = 1 << 10;
    /// The fields whose names begin with `vbe_`.
    pub const VBE: u32 = 1 << 11;
    /// The fields whose names begin with `framebuffer_`.
    pub const FRAMEBUFFER: u32 = 1 << 12;
}

/// The information structure. `ebx` holds its address.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct Info {
    /// Which of the other fields are valid: [`info_flags`].
    pub flags: U32,
    /// Memory from address zero on, in KiB; at most 640.
    pub mem_lower: U32,
    /// Memory from 1 MiB up to the first hole, in KiB.
    pub mem_upper: U32,
    /// BIOS disk and partitions that the kernel was loaded from.
    pub boot_device: U32,
    /// Physical address of the command line, with a terminating zero.
    pub cmdline: U32,
    /// Number of modules.
    pub mods_count: U32,
    /// Physical address of the first [`Module`].
    pub mods_addr: U32,
    /// Symbol table or section header table.
    pub syms: [U32; 4],
    /// Length of the memory map in bytes.
    pub mmap_length: U32,
    /// Physical address of the first [`MmapEntry`].
    pub mmap_addr: U32,
    /// Length of the drive structures in bytes.
    pub drives_length: U32,
    /// Physical address of the first drive structure.
    pub drives_addr: U32,
    /// Address of the BIOS's ROM configuration table.
    pub config_table: U32,
    /// Physical address of the boot loader's name, with a terminating zero.
    pub boot_loader_name: U32,
    /// Physical address of the APM table.
    pub apm_table: U32,
    /// Physical address of the VBE control information.
    pub vbe_control_info: U32,
    /// Physical address of the VBE mode information.
    pub vbe_mode_info: U32,
    /// VBE mode number.
    pub vbe_mode: U16,
    /// Segment of the VBE protected mode interface.
    pub vbe_interface_seg: U16,
    /// Offset of the VBE protected mode interface.
    pub vbe_interface_off: U16,
    /// Length of the VBE protected mode interface.
    pub vbe_interface_len: U16,
    /// Physical address of the framebuffer.
    pub framebuffer_addr: U64,
    /// Length of a row in bytes.
    pub framebuffer_pitch: U32,
    /// Columns.
    pub framebuffer_width: U32,
    /// Rows.
    pub framebuffer_height: U32,
    /// Bits a pixel.
    pub framebuffer_bpp: u8,
    /// 0: indexed colour; 1: direct RGB colour; 2: EGA text.
    pub framebuffer_type: u8,
    /// Palette, or places of the colours in a pixel.
    pub color_info: [u8; 6],
}

const _: () = assert!(
    size_of::<Info>() == 116
        && offset_of!(Info, cmdline) == 16
        && offset_of!(Info, syms) == 28
        && offset_of!(Info, mmap_length) == 44
        && offset_of!(Info, boot_loader_name) == 64
        && offset_of!(Info, vbe_mode) == 80
        && offset_of!(Info, framebuffer_addr) == 88
        && offset_of!(Info, color_info) == 110
);

/// A module.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct Module {
    /// Physical address of its first byte.
    pub mod_start: U32,
    /// Physical address after its last byte.
    pub mod_end: U32,
    /// Physical address of its string, with a terminating zero; zero: it has none.
    pub string: U32,
    /// Zero.
    pub reserved: U32,
}

const _: () = assert!(size_of::<Module>() == 16 && offset_of!(Module, string) == 8);

/// A region of the memory map.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct MmapEntry {
    /// Length of what follows: 20 here. The next entry begins behind it.
    pub size: U32,
    /// First address.
    pub base_addr: U64,
    /// Length in bytes.
    pub length: U64,
    /// 1: RAM; 3: ACPI tables; 4: preserved across sleep; 5: defective RAM; others: reserved.
    pub kind: U32,
}

const _: () = assert!(size_of::<MmapEntry>() == 24 && offset_of!(MmapEntry, kind) == 20);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_valid_with_magic_and_checksum() {
        let check = |words: [u32; 3], valid: bool| {
            let [magic, flags, checksum] = words.map(U32::new);
            let header = Header {
                magic,
                flags,
                checksum,
            };
            assert_eq!(header.is_valid(), valid, "{words:x?}");
        };
        check([0x1bad_b002, 3, 0xe452_4ffb], true);
        check([0x1bad_b002, 3, 0xe452_4ffc], false);
        check([0x1bad_b003, 2, 0xe452_4ffb], false);
    }
}
