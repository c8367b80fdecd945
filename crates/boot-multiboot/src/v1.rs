//! Raw structures of the Multiboot Specification 0.6.96: the header of a kernel (3.1) and the information structure that
//! a boot loader passes to it (3.3). Names are those of the specification; values are not validated.

use core::mem::offset_of;

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Value of [`Header::magic`].
pub const HEADER_MAGIC: u32 = 0x1bad_b002;

/// Value of `eax` at the entry point.
pub const BOOTLOADER_MAGIC: u32 = 0x2bad_b002;

/// The whole header lies in the first 8192 bytes of the file.
pub const SEARCH_LEN: usize = 8192;

/// Alignment of the header in the file, in bytes.
pub const HEADER_ALIGN: usize = 4;

/// Bits of [`Header::flags`]. Bits 0 to 15 are requirements: a boot loader that does not fulfil one must not start the
/// kernel.
pub mod header_flags {
    /// Modules must be aligned to pages of 4 KiB.
    pub const PAGE_ALIGN: u32 = 1 << 0;
    /// The information structure must have at least `mem_lower` and `mem_upper`.
    pub const MEMORY_INFO: u32 = 1 << 1;
    /// The information structure must describe the video mode.
    pub const VIDEO_MODE: u32 = 1 << 2;
    /// The [`AddressFields`](super::AddressFields) are valid and replace the load addresses in the other headers of the
    /// file.
    pub const ADDRESSES: u32 = 1 << 16;
    /// Mask of the requirements.
    pub const REQUIREMENTS: u32 = 0xffff;
}

/// The header of a kernel: the fields that are always valid (3.1.2).
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
    /// True if the magic number and the checksum are valid.
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

/// The address fields of the header (3.1.3), valid with [`header_flags::ADDRESSES`]. They follow [`Header`].
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct AddressFields {
    /// Physical address that the header is loaded at.
    pub header_addr: U32,
    /// Physical address of the first byte that is loaded.
    pub load_addr: U32,
    /// Physical address after the last byte that is loaded. Zero means that the file is loaded up to its end.
    pub load_end_addr: U32,
    /// Physical address after the last byte of the BSS. Zero means that there is no BSS.
    pub bss_end_addr: U32,
    /// Physical address of the entry point.
    pub entry_addr: U32,
}

const _: () = assert!(size_of::<AddressFields>() == 20 && offset_of!(AddressFields, entry_addr) == 16);

/// The graphics fields of the header (3.1.4), valid with [`header_flags::VIDEO_MODE`]. They follow [`AddressFields`],
/// whether those are valid or not.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct GraphicsFields {
    /// 0 for a linear graphics mode, 1 for EGA text mode.
    pub mode_type: U32,
    /// Columns, in pixels or characters; zero for no preference.
    pub width: U32,
    /// Rows, in pixels or characters; zero for no preference.
    pub height: U32,
    /// Bits per pixel; zero for no preference and in text mode.
    pub depth: U32,
}

const _: () = assert!(size_of::<GraphicsFields>() == 16 && offset_of!(GraphicsFields, depth) == 12);

/// Bits of [`Info::flags`]. Each one marks fields as valid.
pub mod info_flags {
    /// `mem_lower` and `mem_upper`.
    pub const MEMORY: u32 = 1 << 0;
    /// `boot_device`.
    pub const BOOT_DEVICE: u32 = 1 << 1;
    /// `cmdline`.
    pub const CMDLINE: u32 = 1 << 2;
    /// `mods_count` and `mods_addr`.
    pub const MODULES: u32 = 1 << 3;
    /// `syms` describes an a.out symbol table. Excludes [`ELF_SECTIONS`].
    pub const AOUT_SYMBOLS: u32 = 1 << 4;
    /// `syms` describes the ELF section header table. Excludes [`AOUT_SYMBOLS`].
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

/// The information structure (3.3). `ebx` holds its physical address at the entry point.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct Info {
    /// Valid fields: see [`info_flags`].
    pub flags: U32,
    /// Size of the RAM from address 0 on, in KiB; at most 640.
    pub mem_lower: U32,
    /// Size of the RAM from 1 MiB up to the first hole above, in KiB.
    pub mem_upper: U32,
    /// BIOS drive number and partition numbers of the disk that the kernel was loaded from.
    pub boot_device: U32,
    /// Physical address of the NUL-terminated command line.
    pub cmdline: U32,
    /// Number of modules.
    pub mods_count: U32,
    /// Physical address of the first [`Module`].
    pub mods_addr: U32,
    /// Location of the symbols, by [`info_flags::AOUT_SYMBOLS`] or [`info_flags::ELF_SECTIONS`].
    pub syms: [U32; 4],
    /// Length of the memory map in bytes.
    pub mmap_length: U32,
    /// Physical address of the first [`MmapEntry`].
    pub mmap_addr: U32,
    /// Length of the drive structures in bytes.
    pub drives_length: U32,
    /// Physical address of the first drive structure.
    pub drives_addr: U32,
    /// Address of the ROM configuration table of the BIOS.
    pub config_table: U32,
    /// Physical address of the NUL-terminated name of the boot loader.
    pub boot_loader_name: U32,
    /// Physical address of the APM table.
    pub apm_table: U32,
    /// Physical address of the VBE control information.
    pub vbe_control_info: U32,
    /// Physical address of the VBE mode information.
    pub vbe_mode_info: U32,
    /// VBE mode number.
    pub vbe_mode: U16,
    /// Real-mode segment of the VBE protected-mode interface.
    pub vbe_interface_seg: U16,
    /// Offset of the VBE protected-mode interface in that segment.
    pub vbe_interface_off: U16,
    /// Length of the VBE protected-mode interface in bytes.
    pub vbe_interface_len: U16,
    /// Physical address of the framebuffer.
    pub framebuffer_addr: U64,
    /// Length of a row in bytes.
    pub framebuffer_pitch: U32,
    /// Columns, in pixels or, in text mode, characters.
    pub framebuffer_width: U32,
    /// Rows, in pixels or, in text mode, characters.
    pub framebuffer_height: U32,
    /// Bits per pixel.
    pub framebuffer_bpp: u8,
    /// 0 for indexed colour, 1 for direct RGB colour, 2 for EGA text.
    pub framebuffer_type: u8,
    /// Location of the palette (type 0), or position and width of each colour in a pixel (type 1).
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

/// An entry of the module list (3.3).
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct Module {
    /// Physical address of the first byte of the module.
    pub mod_start: U32,
    /// Physical address after the last byte of the module.
    pub mod_end: U32,
    /// Physical address of the NUL-terminated string of the module, usually its command line; zero for none.
    pub string: U32,
    /// Zero.
    pub reserved: U32,
}

const _: () = assert!(size_of::<Module>() == 16 && offset_of!(Module, string) == 8);

/// An entry of the memory map (3.3).
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct MmapEntry {
    /// Length of the entry without this field, in bytes: at least 20. The next entry follows after that many bytes.
    pub size: U32,
    /// First address of the region.
    pub base_addr: U64,
    /// Length of the region in bytes.
    pub length: U64,
    /// Type of the region: 1 for RAM, 3 for ACPI tables, 4 for memory to preserve on hibernation, 5 for defective RAM. All
    /// other values are reserved memory.
    pub kind: U32,
}

const _: () = assert!(size_of::<MmapEntry>() == 24 && offset_of!(MmapEntry, kind) == 20);

#[cfg(test)]
mod tests {
    use super::*;

    /// The bit numbers of 3.1.2 and 3.3.
    #[test]
    fn flags_are_those_of_the_specification() {
        use header_flags::{ADDRESSES, MEMORY_INFO, PAGE_ALIGN, VIDEO_MODE};
        assert_eq!(
            [PAGE_ALIGN, MEMORY_INFO, VIDEO_MODE, ADDRESSES],
            [1, 2, 4, 0x1_0000]
        );
        let info = [
            info_flags::MEMORY,
            info_flags::BOOT_DEVICE,
            info_flags::CMDLINE,
            info_flags::MODULES,
            info_flags::AOUT_SYMBOLS,
            info_flags::ELF_SECTIONS,
            info_flags::MEMORY_MAP,
            info_flags::DRIVES,
            info_flags::CONFIG_TABLE,
            info_flags::BOOT_LOADER_NAME,
            info_flags::APM_TABLE,
            info_flags::VBE,
            info_flags::FRAMEBUFFER,
        ];
        assert_eq!(
            info,
            [
                1, 2, 4, 8, 0x10, 0x20, 0x40, 0x80, 0x100, 0x200, 0x400, 0x800, 0x1000
            ]
        );
    }

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
