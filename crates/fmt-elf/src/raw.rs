//! Raw structures of an ELF file, in the order and with the names of the specification.
//!
//! System V gABI, chapters 4 ("ELF Header", "Sections") and 5 ("Program Header", "Note Section"). Every structure is
//! generic over the byte order `O` and has an alignment of 1. Values are not validated.

#![expect(
    missing_docs,
    reason = "the fields are named and explained in the specification"
)]

use core::mem::offset_of;

use zerocopy::byteorder::{ByteOrder, LittleEndian, U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// `e_ident[EI_MAG0..=EI_MAG3]`.
pub const MAGIC: [u8; 4] = *b"\x7fELF";

pub const ELFCLASS32: u8 = 1;
pub const ELFCLASS64: u8 = 2;
pub const ELFDATA2LSB: u8 = 1;
pub const ELFDATA2MSB: u8 = 2;
pub const EV_CURRENT: u8 = 1;

pub const ET_REL: u16 = 1;
pub const ET_EXEC: u16 = 2;
pub const ET_DYN: u16 = 3;
pub const ET_CORE: u16 = 4;

pub const EM_386: u16 = 3;
pub const EM_X86_64: u16 = 62;
pub const EM_AARCH64: u16 = 183;
pub const EM_RISCV: u16 = 243;

/// Value of `e_phnum` if the number of program headers is in `sh_info` of section header 0.
pub const PN_XNUM: u16 = 0xffff;

pub const PT_LOAD: u32 = 1;
pub const PT_DYNAMIC: u32 = 2;
pub const PT_INTERP: u32 = 3;
pub const PT_NOTE: u32 = 4;
pub const PT_TLS: u32 = 7;
pub const PT_GNU_RELRO: u32 = 0x6474_e552;

pub const PF_X: u32 = 1;
pub const PF_W: u32 = 2;

pub const DT_NULL: u64 = 0;
pub const DT_INIT: u64 = 12;
pub const DT_FINI: u64 = 13;
pub const DT_SONAME: u64 = 14;

/// `e_ident`: the first bytes of every ELF file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Ident {
    pub magic: [u8; 4],
    pub class: u8,
    pub data: u8,
    pub version: u8,
    pub os_abi: u8,
    pub abi_version: u8,
    pub pad: [u8; 7],
}

const _: () = assert!(size_of::<Ident>() == 16 && offset_of!(Ident, os_abi) == 7);

/// ELF header of a 32-bit file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Ehdr32<O: ByteOrder> {
    pub e_ident: Ident,
    pub e_type: U16<O>,
    pub e_machine: U16<O>,
    pub e_version: U32<O>,
    pub e_entry: U32<O>,
    pub e_phoff: U32<O>,
    pub e_shoff: U32<O>,
    pub e_flags: U32<O>,
    pub e_ehsize: U16<O>,
    pub e_phentsize: U16<O>,
    pub e_phnum: U16<O>,
    pub e_shentsize: U16<O>,
    pub e_shnum: U16<O>,
    pub e_shstrndx: U16<O>,
}

const _: () = assert!(
    size_of::<Ehdr32<LittleEndian>>() == 52
        && offset_of!(Ehdr32<LittleEndian>, e_entry) == 24
        && offset_of!(Ehdr32<LittleEndian>, e_phnum) == 44
);

/// ELF header of a 64-bit file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Ehdr64<O: ByteOrder> {
    pub e_ident: Ident,
    pub e_type: U16<O>,
    pub e_machine: U16<O>,
    pub e_version: U32<O>,
    pub e_entry: U64<O>,
    pub e_phoff: U64<O>,
    pub e_shoff: U64<O>,
    pub e_flags: U32<O>,
    pub e_ehsize: U16<O>,
    pub e_phentsize: U16<O>,
    pub e_phnum: U16<O>,
    pub e_shentsize: U16<O>,
    pub e_shnum: U16<O>,
    pub e_shstrndx: U16<O>,
}

const _: () = assert!(
    size_of::<Ehdr64<LittleEndian>>() == 64
        && offset_of!(Ehdr64<LittleEndian>, e_entry) == 24
        && offset_of!(Ehdr64<LittleEndian>, e_phnum) == 56
);

/// Program header of a 32-bit file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Phdr32<O: ByteOrder> {
    pub p_type: U32<O>,
    pub p_offset: U32<O>,
    pub p_vaddr: U32<O>,
    pub p_paddr: U32<O>,
    pub p_filesz: U32<O>,
    pub p_memsz: U32<O>,
    pub p_flags: U32<O>,
    pub p_align: U32<O>,
}

const _: () = assert!(
    size_of::<Phdr32<LittleEndian>>() == 32
        && offset_of!(Phdr32<LittleEndian>, p_paddr) == 12
        && offset_of!(Phdr32<LittleEndian>, p_align) == 28
);

/// Program header of a 64-bit file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Phdr64<O: ByteOrder> {
    pub p_type: U32<O>,
    pub p_flags: U32<O>,
    pub p_offset: U64<O>,
    pub p_vaddr: U64<O>,
    pub p_paddr: U64<O>,
    pub p_filesz: U64<O>,
    pub p_memsz: U64<O>,
    pub p_align: U64<O>,
}

const _: () = assert!(
    size_of::<Phdr64<LittleEndian>>() == 56
        && offset_of!(Phdr64<LittleEndian>, p_paddr) == 24
        && offset_of!(Phdr64<LittleEndian>, p_align) == 48
);

/// Section header of a 32-bit file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Shdr32<O: ByteOrder> {
    pub sh_name: U32<O>,
    pub sh_type: U32<O>,
    pub sh_flags: U32<O>,
    pub sh_addr: U32<O>,
    pub sh_offset: U32<O>,
    pub sh_size: U32<O>,
    pub sh_link: U32<O>,
    pub sh_info: U32<O>,
    pub sh_addralign: U32<O>,
    pub sh_entsize: U32<O>,
}

const _: () =
    assert!(size_of::<Shdr32<LittleEndian>>() == 40 && offset_of!(Shdr32<LittleEndian>, sh_info) == 28);

/// Section header of a 64-bit file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Shdr64<O: ByteOrder> {
    pub sh_name: U32<O>,
    pub sh_type: U32<O>,
    pub sh_flags: U64<O>,
    pub sh_addr: U64<O>,
    pub sh_offset: U64<O>,
    pub sh_size: U64<O>,
    pub sh_link: U32<O>,
    pub sh_info: U32<O>,
    pub sh_addralign: U64<O>,
    pub sh_entsize: U64<O>,
}

const _: () =
    assert!(size_of::<Shdr64<LittleEndian>>() == 64 && offset_of!(Shdr64<LittleEndian>, sh_info) == 44);

/// Entry of the dynamic table of a 32-bit file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Dyn32<O: ByteOrder> {
    pub d_tag: U32<O>,
    pub d_un: U32<O>,
}

const _: () = assert!(size_of::<Dyn32<LittleEndian>>() == 8);

/// Entry of the dynamic table of a 64-bit file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Dyn64<O: ByteOrder> {
    pub d_tag: U64<O>,
    pub d_un: U64<O>,
}

const _: () = assert!(size_of::<Dyn64<LittleEndian>>() == 16);

/// Header of a note. Its words are 32 bits wide in files of both classes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Nhdr<O: ByteOrder> {
    pub n_namesz: U32<O>,
    pub n_descsz: U32<O>,
    pub n_type: U32<O>,
}

const _: () = assert!(size_of::<Nhdr<LittleEndian>>() == 12);
