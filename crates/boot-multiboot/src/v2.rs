//! Raw structures of the Multiboot2 Specification 2.0: the header of a kernel with its tags (3.1), and the boot information
//! with its tags that a boot loader passes to it (3.6). Names are those of the specification; values are not validated.

use core::fmt;
use core::mem::offset_of;

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Value of [`Header::magic`].
pub const HEADER_MAGIC: u32 = 0xe852_50d6;

/// Value of `eax` at the entry point.
pub const BOOTLOADER_MAGIC: u32 = 0x36d7_6289;

/// The whole header lies in the first 32768 bytes of the file.
pub const SEARCH_LEN: usize = 32768;

/// Alignment in bytes: of the header in the file, of the boot information in memory, and of the tags in both.
pub const ALIGN: usize = 8;

/// Value of [`Header::architecture`] for the 32-bit protected mode of i386.
pub const ARCHITECTURE_I386: u32 = 0;

/// Bit of [`HeaderTag::flags`]: a boot loader that does not support the tag may ignore it.
pub const HEADER_TAG_OPTIONAL: u16 = 1;

/// The header of a kernel, without its tags (3.1.2).
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
    /// True if the magic number and the checksum are valid.
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

/// Types of header tags, for [`HeaderTag::kind`].
pub mod header_tag {
    /// End of the tags.
    pub const END: u16 = 0;
    /// Requested information tags (3.1.4): an array of 32-bit [`InfoTag`](super::InfoTag) types.
    pub const INFORMATION_REQUEST: u16 = 1;
    /// Load addresses (3.1.5): [`AddressFields`](super::AddressFields).
    pub const ADDRESS: u16 = 2;
    /// Entry point (3.1.6): a 32-bit physical address.
    pub const ENTRY_ADDRESS: u16 = 3;
    /// Console flags (3.1.9): 32 bits, see [`console_flags`](super::console_flags).
    pub const CONSOLE_FLAGS: u16 = 4;
    /// Preferred video mode (3.1.10): [`FramebufferFields`](super::FramebufferFields).
    pub const FRAMEBUFFER: u16 = 5;
    /// Modules must be aligned to pages of 4 KiB (3.1.11).
    pub const MODULE_ALIGNMENT: u16 = 6;
    /// The kernel supports being started before EFI boot services are terminated (3.1.12).
    pub const EFI_BOOT_SERVICES: u16 = 7;
    /// Entry point for EFI i386 (3.1.7): a 32-bit physical address.
    pub const ENTRY_ADDRESS_EFI32: u16 = 8;
    /// Entry point for EFI amd64 (3.1.8): a 32-bit physical address.
    pub const ENTRY_ADDRESS_EFI64: u16 = 9;
    /// The kernel is relocatable (3.1.13): [`RelocatableFields`](super::RelocatableFields).
    pub const RELOCATABLE: u16 = 10;
}

/// Bits of the console flags tag (3.1.9).
pub mod console_flags {
    /// At least one of the consoles that the kernel supports must be present and described in the boot information.
    pub const CONSOLE_REQUIRED: u32 = 1 << 0;
    /// The kernel supports EGA text mode.
    pub const EGA_TEXT_SUPPORTED: u32 = 1 << 1;
}

/// The first fields of every header tag (3.1.3).
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct HeaderTag {
    /// `type`: see [`header_tag`].
    pub kind: U16,
    /// [`HEADER_TAG_OPTIONAL`], or zero.
    pub flags: U16,
    /// Length of the tag including these fields, without padding, in bytes.
    pub size: U32,
}

const _: () = assert!(size_of::<HeaderTag>() == 8 && offset_of!(HeaderTag, size) == 4);

/// Fields of the address tag (3.1.5). They follow its [`HeaderTag`].
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct AddressFields {
    /// Physical address that the header is loaded at.
    pub header_addr: U32,
    /// Physical address of the first byte that is loaded. All ones means that the file is loaded from its first byte.
    pub load_addr: U32,
    /// Physical address after the last byte that is loaded. Zero means that the file is loaded up to its end.
    pub load_end_addr: U32,
    /// Physical address after the last byte of the BSS. Zero means that there is no BSS.
    pub bss_end_addr: U32,
}

const _: () = assert!(size_of::<AddressFields>() == 16 && offset_of!(AddressFields, bss_end_addr) == 12);

/// Fields of the framebuffer tag (3.1.10). They follow its [`HeaderTag`]. A zero means no preference.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct FramebufferFields {
    /// Columns, in pixels or, in text mode, characters.
    pub width: U32,
    /// Rows, in pixels or, in text mode, characters.
    pub height: U32,
    /// Bits per pixel; zero in text mode.
    pub depth: U32,
}

const _: () = assert!(size_of::<FramebufferFields>() == 12 && offset_of!(FramebufferFields, depth) == 8);

/// Fields of the relocatable tag (3.1.13). They follow its [`HeaderTag`].
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct RelocatableFields {
    /// Lowest physical address of the start of the image.
    pub min_addr: U32,
    /// Highest physical address of the last byte of the image.
    pub max_addr: U32,
    /// Alignment of the start of the image in bytes.
    pub align: U32,
    /// 0 for no preference, 1 for the lowest possible address, 2 for the highest.
    pub preference: U32,
}

const _: () =
    assert!(size_of::<RelocatableFields>() == 16 && offset_of!(RelocatableFields, preference) == 12);

/// Type of an information tag (3.6). Other values than the constants are valid.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InfoTag(pub u32);

impl InfoTag {
    /// End of the tags.
    pub const END: Self = Self(0);
    /// Command line.
    pub const CMDLINE: Self = Self(1);
    /// Name of the boot loader.
    pub const BOOT_LOADER_NAME: Self = Self(2);
    /// A module: [`Module`] and a string.
    pub const MODULE: Self = Self(3);
    /// Sizes of lower and upper memory: [`BasicMemory`].
    pub const BASIC_MEMORY: Self = Self(4);
    /// BIOS drive number and partition numbers of the disk that the kernel was loaded from.
    pub const BIOS_BOOT_DEVICE: Self = Self(5);
    /// Memory map: [`MmapHeader`] and entries ([`MmapEntry`]).
    pub const MEMORY_MAP: Self = Self(6);
    /// VBE information.
    pub const VBE: Self = Self(7);
    /// Framebuffer.
    pub const FRAMEBUFFER: Self = Self(8);
    /// Section header table of the ELF kernel.
    pub const ELF_SECTIONS: Self = Self(9);
    /// APM table.
    pub const APM: Self = Self(10);
    /// Address of the EFI i386 system table.
    pub const EFI32_SYSTEM_TABLE: Self = Self(11);
    /// Address of the EFI amd64 system table.
    pub const EFI64_SYSTEM_TABLE: Self = Self(12);
    /// Copy of the SMBIOS tables.
    pub const SMBIOS: Self = Self(13);
    /// Copy of the RSDP of ACPI 1.0.
    pub const ACPI_OLD_RSDP: Self = Self(14);
    /// Copy of the RSDP of ACPI 2.0 or later.
    pub const ACPI_NEW_RSDP: Self = Self(15);
    /// Network information: the DHCP acknowledgement.
    pub const NETWORK: Self = Self(16);
    /// EFI memory map.
    pub const EFI_MEMORY_MAP: Self = Self(17);
    /// EFI boot services were not terminated.
    pub const EFI_BOOT_SERVICES: Self = Self(18);
    /// Address of the EFI i386 image handle.
    pub const EFI32_IMAGE_HANDLE: Self = Self(19);
    /// Address of the EFI amd64 image handle.
    pub const EFI64_IMAGE_HANDLE: Self = Self(20);
    /// Physical load address of a relocatable image.
    pub const LOAD_BASE: Self = Self(21);

    /// Name of the tag in the specification; `None` for a type that version 2.0 does not define.
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

/// The first fields of the boot information (3.6). `ebx` holds its physical address, a multiple of [`ALIGN`], at the entry
/// point. Tags follow.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct InfoHeader {
    /// Length of the boot information with all tags, in bytes.
    pub total_size: U32,
    /// Zero.
    pub reserved: U32,
}

const _: () = assert!(size_of::<InfoHeader>() == 8 && offset_of!(InfoHeader, reserved) == 4);

/// The first fields of every information tag (3.6).
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct InfoTagHeader {
    /// `type`: see [`InfoTag`].
    pub kind: U32,
    /// Length of the tag including these fields, without padding, in bytes.
    pub size: U32,
}

const _: () = assert!(size_of::<InfoTagHeader>() == 8 && offset_of!(InfoTagHeader, size) == 4);

/// Fields of the basic memory information. They follow its [`InfoTagHeader`].
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct BasicMemory {
    /// Size of the RAM from address 0 on, in KiB; at most 640.
    pub mem_lower: U32,
    /// Size of the RAM from 1 MiB up to the first hole above, in KiB.
    pub mem_upper: U32,
}

const _: () = assert!(size_of::<BasicMemory>() == 8 && offset_of!(BasicMemory, mem_upper) == 4);

/// Fields of a module tag. They follow its [`InfoTagHeader`]; the NUL-terminated string of the module, usually its command
/// line, follows them.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct Module {
    /// Physical address of the first byte of the module.
    pub mod_start: U32,
    /// Physical address after the last byte of the module.
    pub mod_end: U32,
}

const _: () = assert!(size_of::<Module>() == 8 && offset_of!(Module, mod_end) == 4);

/// First fields of the memory map tag. They follow its [`InfoTagHeader`]; the entries follow them.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct MmapHeader {
    /// Length of an entry in bytes: 24 in version 2.0, always a multiple of 8.
    pub entry_size: U32,
    /// Zero.
    pub entry_version: U32,
}

const _: () = assert!(size_of::<MmapHeader>() == 8 && offset_of!(MmapHeader, entry_version) == 4);

/// An entry of the memory map.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct MmapEntry {
    /// First address of the region.
    pub base_addr: U64,
    /// Length of the region in bytes.
    pub length: U64,
    /// Type of the region: 1 for RAM, 3 for ACPI tables, 4 for memory to preserve on hibernation, 5 for defective RAM. All
    /// other values are reserved memory.
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
    fn console_flags_are_those_of_the_specification() {
        let flags = [console_flags::CONSOLE_REQUIRED, console_flags::EGA_TEXT_SUPPORTED];
        assert_eq!(flags, [1, 2]);
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
