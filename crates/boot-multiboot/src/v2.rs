//! Multiboot2 as in its specification, version 2.0: the header of a kernel with its tags (3.1), and the tags of the
//! information that it is given (3.6). Names are those of the specification; nothing here is validated.

use core::fmt;
use core::mem::offset_of;

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// `magic` of a header.
pub const HEADER_MAGIC: u32 = 0xe852_50d6;

/// What a boot loader puts into `eax`.
pub const BOOTLOADER_MAGIC: u32 = 0x36d7_6289;

/// The header lies in this many bytes from the start of the file.
pub const SEARCH_LEN: usize = 32768;

/// The alignment of the header in the file and of each of its tags, in bytes; also that of the information structure
/// and of each of its tags.
pub const ALIGN: usize = 8;

/// `architecture` of a header: 32-bit protected mode of i386.
pub const ARCHITECTURE_I386: u32 = 0;

/// Bit of a header tag's `flags`: a boot loader may ignore the tag.
pub const OPTIONAL: u16 = 1;

/// The fields of the header before its tags.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct Header {
    /// [`HEADER_MAGIC`].
    pub magic: U32,
    /// [`ARCHITECTURE_I386`], or 4 for MIPS.
    pub architecture: U32,
    /// Length of the header with all tags, in bytes.
    pub header_length: U32,
    /// Makes the sum of the four fields zero.
    pub checksum: U32,
}

const _: () = assert!(size_of::<Header>() == 16 && offset_of!(Header, checksum) == 12);

impl Header {
    /// Whether magic number and checksum are right.
    #[must_use]
    pub fn is_valid(&self) -> bool {
        let sum = self
            .magic
            .get()
            .wrapping_add(self.architecture.get())
            .wrapping_add(self.header_length.get())
            .wrapping_add(self.checksum.get());
        self.magic.get() == HEADER_MAGIC && sum == 0
    }
}

/// `type` of a header tag.
pub mod header_tag {
    /// Ends the tags.
    pub const END: u16 = 0;
    /// Information tags that are asked for.
    pub const INFORMATION_REQUEST: u16 = 1;
    /// Load addresses.
    pub const ADDRESS: u16 = 2;
    /// Entry point.
    pub const ENTRY_ADDRESS: u16 = 3;
    /// Console flags.
    pub const CONSOLE_FLAGS: u16 = 4;
    /// Preferred graphics mode.
    pub const FRAMEBUFFER: u16 = 5;
    /// Modules must be aligned to pages.
    pub const MODULE_ALIGNMENT: u16 = 6;
    /// The kernel can be started with EFI boot services.
    pub const EFI_BOOT_SERVICES: u16 = 7;
    /// Entry point of EFI i386.
    pub const ENTRY_ADDRESS_EFI32: u16 = 8;
    /// Entry point of EFI amd64.
    pub const ENTRY_ADDRESS_EFI64: u16 = 9;
    /// The kernel can be relocated.
    pub const RELOCATABLE: u16 = 10;
}

/// Bits of the console flags tag.
pub mod console_flags {
    /// At least one console that the kernel supports must be there, and be described.
    pub const CONSOLE_REQUIRED: u32 = 1 << 0;
    /// The kernel supports EGA text mode.
    pub const EGA_TEXT_SUPPORTED: u32 = 1 << 1;
}

/// The fields that every header tag begins with.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct HeaderTag {
    /// See [`header_tag`].
    pub kind: U16,
    /// [`OPTIONAL`].
    pub flags: U16,
    /// Length of the tag with these fields, in bytes, without padding.
    pub size: U32,
}

const _: () = assert!(size_of::<HeaderTag>() == 8 && offset_of!(HeaderTag, size) == 4);

/// The address tag, behind its [`HeaderTag`].
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct Address {
    /// Physical address that the header is loaded at.
    pub header_addr: U32,
    /// Physical address of the first byte that is loaded; all ones: the file is loaded from its first byte on.
    pub load_addr: U32,
    /// Physical address after the last byte that is loaded; zero: up to the end of the file.
    pub load_end_addr: U32,
    /// Physical address after the last byte of the BSS; zero: there is none.
    pub bss_end_addr: U32,
}

const _: () = assert!(size_of::<Address>() == 16 && offset_of!(Address, bss_end_addr) == 12);

/// The framebuffer tag, behind its [`HeaderTag`]. Zero: no preference.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct FramebufferMode {
    /// Columns.
    pub width: U32,
    /// Rows.
    pub height: U32,
    /// Bits a pixel.
    pub depth: U32,
}

const _: () = assert!(size_of::<FramebufferMode>() == 12 && offset_of!(FramebufferMode, depth) == 8);

/// The relocatable tag, behind its [`HeaderTag`].
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct RelocatableFields {
    /// Lowest physical address that the image may be loaded at.
    pub min_addr: U32,
    /// Highest physical address that any byte of the image may be loaded at.
    pub max_addr: U32,
    /// Alignment of the image in bytes.
    pub align: U32,
    /// 0: no preference; 1: lowest address; 2: highest address.
    pub preference: U32,
}

const _: () =
    assert!(size_of::<RelocatableFields>() == 16 && offset_of!(RelocatableFields, preference) == 12);

/// `type` of an information tag: an open set.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InfoTag(pub u32);

impl InfoTag {
    /// Ends the tags.
    pub const END: Self = Self(0);
    /// The command line.
    pub const CMDLINE: Self = Self(1);
    /// The boot loader's name.
    pub const BOOT_LOADER_NAME: Self = Self(2);
    /// A module.
    pub const MODULE: Self = Self(3);
    /// `mem_lower` and `mem_upper`.
    pub const BASIC_MEMORY: Self = Self(4);
    /// BIOS disk and partitions that the kernel was loaded from.
    pub const BIOS_BOOT_DEVICE: Self = Self(5);
    /// The memory map.
    pub const MEMORY_MAP: Self = Self(6);
    /// VBE information.
    pub const VBE: Self = Self(7);
    /// The framebuffer.
    pub const FRAMEBUFFER: Self = Self(8);
    /// The ELF file's section header table.
    pub const ELF_SECTIONS: Self = Self(9);
    /// The APM table.
    pub const APM: Self = Self(10);
    /// The EFI system table of i386.
    pub const EFI32_SYSTEM_TABLE: Self = Self(11);
    /// The EFI system table of amd64.
    pub const EFI64_SYSTEM_TABLE: Self = Self(12);
    /// The SMBIOS tables.
    pub const SMBIOS: Self = Self(13);
    /// A copy of the RSDP of ACPI 1.0.
    pub const ACPI_OLD_RSDP: Self = Self(14);
    /// A copy of the RSDP of ACPI 2.0 or later.
    pub const ACPI_NEW_RSDP: Self = Self(15);
    /// The DHCP answer.
    pub const NETWORK: Self = Self(16);
    /// The EFI memory map.
    pub const EFI_MEMORY_MAP: Self = Self(17);
    /// EFI boot services are still there.
    pub const EFI_BOOT_SERVICES: Self = Self(18);
    /// The EFI image handle of i386.
    pub const EFI32_IMAGE_HANDLE: Self = Self(19);
    /// The EFI image handle of amd64.
    pub const EFI64_IMAGE_HANDLE: Self = Self(20);
    /// The physical address that a relocatable image was loaded at.
    pub const LOAD_BASE: Self = Self(21);

    /// The tag's name; `None` for a type that version 2.0 does not define.
    #[must_use]
    pub const fn name(self) -> Option<&'static str> {
        Some(match self {
            Self::END => "end",
            Self::CMDLINE => "boot command line",
            Self::BOOT_LOADER_NAME => "boot loader name",
            Self::MODULE => "modules",
            Self::BASIC_MEMORY => "basic memory information",
            Self::BIOS_BOOT_DEVICE => "BIOS boot device",
            Self::MEMORY_MAP => "memory map",
            Self::VBE => "VBE info",
            Self::FRAMEBUFFER => "framebuffer info",
            Self::ELF_SECTIONS => "ELF symbols",
            Self::APM => "APM table",
            Self::EFI32_SYSTEM_TABLE => "EFI 32-bit system table pointer",
            Self::EFI64_SYSTEM_TABLE => "EFI 64-bit system table pointer",
            Self::SMBIOS => "SMBIOS tables",
            Self::ACPI_OLD_RSDP => "ACPI old RSDP",
            Self::ACPI_NEW_RSDP => "ACPI new RSDP",
            Self::NETWORK => "networking information",
            Self::EFI_MEMORY_MAP => "EFI memory map",
            Self::EFI_BOOT_SERVICES => "EFI boot services not terminated",
            Self::EFI32_IMAGE_HANDLE => "EFI 32-bit image handle pointer",
            Self::EFI64_IMAGE_HANDLE => "EFI 64-bit image handle pointer",
            Self::LOAD_BASE => "image load base physical address",
            Self(_) => return None,
        })
    }
}

impl fmt::Display for InfoTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => write!(f, "{name} (type {})", self.0),
            None => write!(f, "type {}", self.0),
        }
    }
}

impl fmt::Debug for InfoTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "InfoTag({})", self.0)
    }
}

/// The fields that the information begins with. `ebx` holds its address, a multiple of [`ALIGN`].
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct InfoHeader {
    /// Length of the information with all tags, in bytes.
    pub total_size: U32,
    /// Zero.
    pub reserved: U32,
}

const _: () = assert!(size_of::<InfoHeader>() == 8 && offset_of!(InfoHeader, reserved) == 4);

/// The fields that every information tag begins with.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct InfoTagHeader {
    /// See [`InfoTag`].
    pub kind: U32,
    /// Length of the tag with these fields, in bytes, without padding.
    pub size: U32,
}

const _: () = assert!(size_of::<InfoTagHeader>() == 8 && offset_of!(InfoTagHeader, size) == 4);

/// The basic memory information, behind its [`InfoTagHeader`].
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct BasicMemory {
    /// Memory from address zero on, in KiB; at most 640.
    pub mem_lower: U32,
    /// Memory from 1 MiB up to the first hole, in KiB.
    pub mem_upper: U32,
}

const _: () = assert!(size_of::<BasicMemory>() == 8 && offset_of!(BasicMemory, mem_upper) == 4);

/// A module, behind its [`InfoTagHeader`]; its string follows, with a terminating zero.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct Module {
    /// Physical address of its first byte.
    pub mod_start: U32,
    /// Physical address after its last byte.
    pub mod_end: U32,
}

const _: () = assert!(size_of::<Module>() == 8 && offset_of!(Module, mod_end) == 4);

/// What the memory map begins with, behind its [`InfoTagHeader`].
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct MmapHeader {
    /// Length of an entry in bytes: 24 here, in any case a multiple of 8.
    pub entry_size: U32,
    /// Zero.
    pub entry_version: U32,
}

const _: () = assert!(size_of::<MmapHeader>() == 8 && offset_of!(MmapHeader, entry_version) == 4);

/// A region of the memory map.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct MmapEntry {
    /// First address.
    pub base_addr: U64,
    /// Length in bytes.
    pub length: U64,
    /// 1: RAM; 3: ACPI tables; 4: preserved across sleep; 5: defective RAM; others: reserved.
    pub kind: U32,
    /// Zero.
    pub reserved: U32,
}

const _: () = assert!(size_of::<MmapEntry>() == 24 && offset_of!(MmapEntry, kind) == 16);

#[cfg(test)]
mod tests {
    use std::string::ToString;

    use super::*;

    #[test]
    fn tags_are_named() {
        let check = |tag: InfoTag, expected: &str| assert_eq!(tag.to_string(), expected);
        check(InfoTag::MEMORY_MAP, "memory map (type 6)");
        check(InfoTag::LOAD_BASE, "image load base physical address (type 21)");
        check(InfoTag(22), "type 22");
        assert_eq!(std::format!("{:?}", InfoTag::VBE), "InfoTag(7)");
        let mut names: std::vec::Vec<_> = (0..22).map(|tag| InfoTag(tag).name().unwrap()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), 22);
    }

    #[test]
    fn a_header_is_valid_with_magic_and_checksum() {
        let check = |words: [u32; 4], valid: bool| {
            let [magic, architecture, header_length, checksum] = words.map(U32::new);
            let header = Header {
                magic,
                architecture,
                header_length,
                checksum,
            };
            assert_eq!(header.is_valid(), valid, "{words:x?}");
        };
        check([0xe852_50d6, 0, 0x88, 0x17ad_aea2], true);
        check([0xe852_50d6, 0, 0x89, 0x17ad_aea2], false);
        check([0xe852_50d7, 0, 0x87, 0x17ad_aea2], false);
        check([0xe852_50d6, 4, 0x88, 0x17ad_ae9e], true);
    }
}
