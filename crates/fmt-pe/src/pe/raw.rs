//! Raw layout of PE files, in the order and with the names of Microsoft's "PE Format" specification.
//!
//! ```text
//!  0x00          DOS header; its last field is the offset of the signature
//!  e_lfanew      "PE\0\0"
//!      + 0x04    COFF file header
//!      + 0x18    optional header, with the data directories at its end
//!      + 0x18 + size_of_optional_header
//!                section table
//! ```

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// The MS-DOS header ("MS-DOS Stub").
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct DosHeader {
    /// [`DOS_MAGIC`].
    pub e_magic: [u8; 2],
    /// Bytes in the last page of the file.
    pub e_cblp: U16,
    /// Pages in the file.
    pub e_cp: U16,
    /// Count of relocations.
    pub e_crlc: U16,
    /// Length of the header in 16-byte paragraphs.
    pub e_cparhdr: U16,
    /// Number of extra paragraphs that the program needs.
    pub e_minalloc: U16,
    /// Maximum number of extra paragraphs.
    pub e_maxalloc: U16,
    /// Initial `ss`.
    pub e_ss: U16,
    /// Initial `sp`.
    pub e_sp: U16,
    /// Checksum.
    pub e_csum: U16,
    /// Initial `ip`.
    pub e_ip: U16,
    /// Initial `cs`.
    pub e_cs: U16,
    /// File offset of the relocation table.
    pub e_lfarlc: U16,
    /// Overlay number.
    pub e_ovno: U16,
    /// Reserved.
    pub e_res: [U16; 4],
    /// OEM identifier.
    pub e_oemid: U16,
    /// OEM information.
    pub e_oeminfo: U16,
    /// Reserved.
    pub e_res2: [U16; 10],
    /// File offset of the PE signature.
    pub e_lfanew: U32,
}

/// The COFF file header.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct CoffHeader {
    /// Machine type.
    pub machine: U16,
    /// The number of entries in the section table.
    pub number_of_sections: U16,
    /// Seconds since 1970, or a hash.
    pub time_date_stamp: U32,
    /// File offset of the symbol table; zero in an image.
    pub pointer_to_symbol_table: U32,
    /// The number of symbols; zero in an image.
    pub number_of_symbols: U32,
    /// Length of the optional header with its data directories, in bytes.
    pub size_of_optional_header: U16,
    /// Flags such as [`RELOCS_STRIPPED`].
    pub characteristics: U16,
}

/// The fixed part of the optional header of PE32.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct OptionalHeader32 {
    /// [`MAGIC_PE32`].
    pub magic: U16,
    /// Version of the linker.
    pub major_linker_version: u8,
    /// Version of the linker.
    pub minor_linker_version: u8,
    /// Length of all code sections, in bytes.
    pub size_of_code: U32,
    /// Length of all sections of initialised data, in bytes.
    pub size_of_initialized_data: U32,
    /// Length of all sections of uninitialised data, in bytes.
    pub size_of_uninitialized_data: U32,
    /// Entry point, relative to the image base; zero for none.
    pub address_of_entry_point: U32,
    /// Start of the code, relative to the image base.
    pub base_of_code: U32,
    /// Start of the data, relative to the image base.
    pub base_of_data: U32,
    /// Link address of the image.
    pub image_base: U32,
    /// Fields common to PE32 and PE32+.
    pub common: OptionalCommon,
    /// Size of the stack to reserve, in bytes.
    pub size_of_stack_reserve: U32,
    /// Size of the stack to commit, in bytes.
    pub size_of_stack_commit: U32,
    /// Size of the heap to reserve, in bytes.
    pub size_of_heap_reserve: U32,
    /// Size of the heap to commit, in bytes.
    pub size_of_heap_commit: U32,
    /// Reserved.
    pub loader_flags: U32,
    /// The number of data directories that follow.
    pub number_of_rva_and_sizes: U32,
}

/// The fixed part of the optional header of PE32+.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct OptionalHeader64 {
    /// [`MAGIC_PE32_PLUS`].
    pub magic: U16,
    /// Version of the linker.
    pub major_linker_version: u8,
    /// Version of the linker.
    pub minor_linker_version: u8,
    /// Length of all code sections, in bytes.
    pub size_of_code: U32,
    /// Length of all sections of initialised data, in bytes.
    pub size_of_initialized_data: U32,
    /// Length of all sections of uninitialised data, in bytes.
    pub size_of_uninitialized_data: U32,
    /// Entry point, relative to the image base; zero for none.
    pub address_of_entry_point: U32,
    /// Start of the code, relative to the image base.
    pub base_of_code: U32,
    /// Link address of the image.
    pub image_base: U64,
    /// Fields common to PE32 and PE32+.
    pub common: OptionalCommon,
    /// Size of the stack to reserve, in bytes.
    pub size_of_stack_reserve: U64,
    /// Size of the stack to commit, in bytes.
    pub size_of_stack_commit: U64,
    /// Size of the heap to reserve, in bytes.
    pub size_of_heap_reserve: U64,
    /// Size of the heap to commit, in bytes.
    pub size_of_heap_commit: U64,
    /// Reserved.
    pub loader_flags: U32,
    /// The number of data directories that follow.
    pub number_of_rva_and_sizes: U32,
}

/// The fields that have the same offset and width in the optional headers of PE32 and PE32+: 0x20 to 0x48.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct OptionalCommon {
    /// Alignment of sections in memory, in bytes.
    pub section_alignment: U32,
    /// Alignment of sections in the file, in bytes.
    pub file_alignment: U32,
    /// Required version of the operating system.
    pub major_operating_system_version: U16,
    /// Required version of the operating system.
    pub minor_operating_system_version: U16,
    /// Version of the image.
    pub major_image_version: U16,
    /// Version of the image.
    pub minor_image_version: U16,
    /// Version of the subsystem.
    pub major_subsystem_version: U16,
    /// Version of the subsystem.
    pub minor_subsystem_version: U16,
    /// Reserved.
    pub win32_version_value: U32,
    /// Length of the image in memory with its headers, in bytes.
    pub size_of_image: U32,
    /// Length of all headers, rounded up to the alignment of sections in the file, in bytes.
    pub size_of_headers: U32,
    /// Checksum of the file.
    pub check_sum: U32,
    /// Subsystem.
    pub subsystem: U16,
    /// Flags.
    pub dll_characteristics: U16,
}

/// Data directory: location of a table.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct DataDirectory {
    /// RVA of the table; for the certificate table, its file offset.
    pub virtual_address: U32,
    /// Length in bytes.
    pub size: U32,
}

/// An entry of the section table.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct SectionHeader {
    /// Name, padded with zeros.
    pub name: [u8; 8],
    /// Length in memory in bytes.
    pub virtual_size: U32,
    /// Start in memory, relative to the image base.
    pub virtual_address: U32,
    /// Length in the file in bytes.
    pub size_of_raw_data: U32,
    /// File offset; zero if the section has no bytes in the file.
    pub pointer_to_raw_data: U32,
    /// Zero in an image.
    pub pointer_to_relocations: U32,
    /// Zero in an image.
    pub pointer_to_linenumbers: U32,
    /// Zero in an image.
    pub number_of_relocations: U16,
    /// Zero in an image.
    pub number_of_linenumbers: U16,
    /// Contents and access rights.
    pub characteristics: U32,
}

/// The start of a block of base relocations; 16-bit entries follow ("Base Relocation Block").
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct BaseRelocationBlock {
    /// RVA that the offsets of the entries are relative to.
    pub page_rva: U32,
    /// Length of the block in bytes, including this structure.
    pub block_size: U32,
}

const _: () = {
    use core::mem::offset_of;
    assert!(size_of::<DosHeader>() == 0x40 && offset_of!(DosHeader, e_lfanew) == 0x3c);
    assert!(size_of::<CoffHeader>() == 20 && offset_of!(CoffHeader, size_of_optional_header) == 16);
    assert!(size_of::<OptionalHeader32>() == 96 && size_of::<OptionalHeader64>() == 112);
    assert!(offset_of!(OptionalHeader32, image_base) == 28 && offset_of!(OptionalHeader64, image_base) == 24);
    assert!(offset_of!(OptionalHeader32, common) == 32 && offset_of!(OptionalHeader64, common) == 32);
    assert!(offset_of!(OptionalHeader32, number_of_rva_and_sizes) == 92);
    assert!(offset_of!(OptionalHeader64, number_of_rva_and_sizes) == 108);
    assert!(size_of::<OptionalCommon>() == 40 && offset_of!(OptionalCommon, size_of_image) == 56 - 32);
    assert!(offset_of!(OptionalCommon, check_sum) == CHECK_SUM_OFFSET - 32);
    assert!(offset_of!(OptionalCommon, subsystem) == 68 - 32);
    assert!(size_of::<DataDirectory>() == 8);
    assert!(size_of::<SectionHeader>() == 40 && offset_of!(SectionHeader, pointer_to_raw_data) == 20);
    assert!(offset_of!(SectionHeader, characteristics) == 36);
    assert!(size_of::<BaseRelocationBlock>() == 8);
};

/// Value of [`DosHeader::e_magic`].
pub const DOS_MAGIC: [u8; 2] = *b"MZ";

/// Signature at the offset [`DosHeader::e_lfanew`].
pub const PE_SIGNATURE: [u8; 4] = *b"PE\0\0";

/// The magic number of the optional header of PE32.
pub const MAGIC_PE32: u16 = 0x10b;

/// The magic number of the optional header of PE32+.
pub const MAGIC_PE32_PLUS: u16 = 0x20b;

/// The magic number of the optional header of a ROM image.
pub const MAGIC_ROM: u16 = 0x107;

/// Offset of `CheckSum` in the optional headers of PE32 and PE32+.
pub const CHECK_SUM_OFFSET: usize = 64;

/// `IMAGE_FILE_RELOCS_STRIPPED` in [`CoffHeader::characteristics`]: the base relocations were removed.
pub const RELOCS_STRIPPED: u16 = 0x0001;

/// `IMAGE_DLLCHARACTERISTICS_NX_COMPAT` in [`OptionalCommon::dll_characteristics`]: the image runs with data that is not
/// executable and code that is not writable.
pub const NX_COMPAT: u16 = 0x0100;

/// Number of data directories that the specification defines.
pub const DIRECTORIES: usize = 16;
