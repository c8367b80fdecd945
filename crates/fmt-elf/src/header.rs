//! Headers with native integers, decoded from either class and either byte order.

use boot_core::{Endian, ReadError, SizedSource};
use zerocopy::byteorder::{BigEndian, ByteOrder, LittleEndian};
use zerocopy::{FromBytes, IntoBytes};

use crate::encoding::{Class, Encoding};
use crate::raw;

/// ELF header (gABI chapter 4). Fields have the names and meanings of the specification.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[expect(
    missing_docs,
    reason = "the fields are named and explained in the specification"
)]
pub struct FileHeader {
    pub e_type: u16,
    pub e_machine: u16,
    pub e_version: u32,
    pub e_entry: u64,
    pub e_phoff: u64,
    pub e_shoff: u64,
    pub e_flags: u32,
    pub e_ehsize: u16,
    pub e_phentsize: u16,
    pub e_phnum: u16,
    pub e_shentsize: u16,
    pub e_shnum: u16,
    pub e_shstrndx: u16,
}

/// Program header (gABI chapter 5) and its position. Fields prefixed with `p_` have the names and meanings of the
/// specification.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[expect(
    missing_docs,
    reason = "the fields are named and explained in the specification"
)]
pub struct ProgramHeader {
    /// Index in the program header table, from 0.
    pub index: u32,
    /// File offset of the header itself.
    pub header_offset: u64,
    /// Class of the file, which determines the layout of the header.
    pub class: Class,
    pub p_type: u32,
    pub p_flags: u32,
    pub p_offset: u64,
    pub p_vaddr: u64,
    pub p_paddr: u64,
    pub p_filesz: u64,
    pub p_memsz: u64,
    pub p_align: u64,
}

/// The field of section header 0 that counts program headers beyond `PN_XNUM`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SectionHeader {
    pub(crate) sh_info: u32,
}

/// Entry of the dynamic table (gABI chapter 5, "Dynamic Section"), without its value.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DynamicEntry {
    pub(crate) d_tag: u64,
}

/// Header of a note (gABI chapter 5, "Note Section").
#[derive(Clone, Copy, Debug)]
#[expect(
    clippy::struct_field_names,
    reason = "the prefix is part of the specification's names"
)]
pub(crate) struct NoteHeader {
    pub(crate) n_namesz: u32,
    pub(crate) n_descsz: u32,
    pub(crate) n_type: u32,
}

/// Structure with native integers that can be decoded from its raw form in either class and byte order.
pub(crate) trait Decode: Sized {
    /// Raw form in 32-bit files.
    type Raw32<O: ByteOrder>: FromBytes + IntoBytes;
    /// Raw form in 64-bit files.
    type Raw64<O: ByteOrder>: FromBytes + IntoBytes;

    /// Converts the 32-bit form.
    fn from_raw32<O: ByteOrder>(raw: Self::Raw32<O>) -> Self;
    /// Converts the 64-bit form.
    fn from_raw64<O: ByteOrder>(raw: Self::Raw64<O>) -> Self;

    /// Size of the raw form in bytes.
    fn raw_size(class: Class) -> usize {
        match class {
            Class::Elf32 => size_of::<Self::Raw32<LittleEndian>>(),
            Class::Elf64 => size_of::<Self::Raw64<LittleEndian>>(),
        }
    }

    /// Reads the structure at `offset` of a source.
    fn read(source: &SizedSource<'_>, offset: u64, encoding: Encoding) -> Result<Self, ReadError> {
        match (encoding.class, encoding.endian) {
            (Class::Elf32, Endian::Little) => source.read(offset).map(Self::from_raw32::<LittleEndian>),
            (Class::Elf32, Endian::Big) => source.read(offset).map(Self::from_raw32::<BigEndian>),
            (Class::Elf64, Endian::Little) => source.read(offset).map(Self::from_raw64::<LittleEndian>),
            (Class::Elf64, Endian::Big) => source.read(offset).map(Self::from_raw64::<BigEndian>),
        }
    }

    /// Decodes the first [`raw_size`](Self::raw_size) bytes; `None` if there are fewer.
    fn decode(bytes: &[u8], encoding: Encoding) -> Option<Self> {
        fn prefix<T: FromBytes>(bytes: &[u8]) -> Option<T> {
            T::read_from_prefix(bytes).ok().map(|(raw, _)| raw)
        }
        match (encoding.class, encoding.endian) {
            (Class::Elf32, Endian::Little) => prefix(bytes).map(Self::from_raw32::<LittleEndian>),
            (Class::Elf32, Endian::Big) => prefix(bytes).map(Self::from_raw32::<BigEndian>),
            (Class::Elf64, Endian::Little) => prefix(bytes).map(Self::from_raw64::<LittleEndian>),
            (Class::Elf64, Endian::Big) => prefix(bytes).map(Self::from_raw64::<BigEndian>),
        }
    }
}

/// Implements [`Decode`] for both classes, which differ only in the width of the integers.
macro_rules! decode {
    ($native:ident from $raw32:ident, $raw64:ident: |$class:ident, $raw:ident| $value:expr) => {
        impl Decode for $native {
            type Raw32<O: ByteOrder> = raw::$raw32<O>;
            type Raw64<O: ByteOrder> = raw::$raw64<O>;

            fn from_raw32<O: ByteOrder>($raw: raw::$raw32<O>) -> Self {
                let $class = Class::Elf32;
                $value
            }

            fn from_raw64<O: ByteOrder>($raw: raw::$raw64<O>) -> Self {
                let $class = Class::Elf64;
                $value
            }
        }
    };
}

decode!(FileHeader from Ehdr32, Ehdr64: |_class, raw| FileHeader {
    e_type: raw.e_type.into(),
    e_machine: raw.e_machine.into(),
    e_version: raw.e_version.into(),
    e_entry: raw.e_entry.into(),
    e_phoff: raw.e_phoff.into(),
    e_shoff: raw.e_shoff.into(),
    e_flags: raw.e_flags.into(),
    e_ehsize: raw.e_ehsize.into(),
    e_phentsize: raw.e_phentsize.into(),
    e_phnum: raw.e_phnum.into(),
    e_shentsize: raw.e_shentsize.into(),
    e_shnum: raw.e_shnum.into(),
    e_shstrndx: raw.e_shstrndx.into(),
});

// `ProgramHeaders` sets `index` and `header_offset`.
decode!(ProgramHeader from Phdr32, Phdr64: |class, raw| ProgramHeader {
    index: 0,
    header_offset: 0,
    class,
    p_type: raw.p_type.into(),
    p_flags: raw.p_flags.into(),
    p_offset: raw.p_offset.into(),
    p_vaddr: raw.p_vaddr.into(),
    p_paddr: raw.p_paddr.into(),
    p_filesz: raw.p_filesz.into(),
    p_memsz: raw.p_memsz.into(),
    p_align: raw.p_align.into(),
});

decode!(SectionHeader from Shdr32, Shdr64: |_class, raw| SectionHeader {
    sh_info: raw.sh_info.into(),
});

decode!(DynamicEntry from Dyn32, Dyn64: |_class, raw| DynamicEntry {
    d_tag: raw.d_tag.into(),
});

decode!(NoteHeader from Nhdr, Nhdr: |_class, raw| NoteHeader {
    n_namesz: raw.n_namesz.into(),
    n_descsz: raw.n_descsz.into(),
    n_type: raw.n_type.into(),
});

/// [`Field`](crate::error::Field) of a raw structure at file offset `base`: `field!(class, Ehdr32 | Ehdr64 @ base, e_phoff)`.
macro_rules! field {
    ($class:expr, $raw32:ident | $raw64:ident @ $base:expr, $field:ident) => {{
        use zerocopy::byteorder::LittleEndian;
        let offset = match $class {
            $crate::encoding::Class::Elf32 => {
                ::core::mem::offset_of!($crate::raw::$raw32<LittleEndian>, $field)
            }
            $crate::encoding::Class::Elf64 => {
                ::core::mem::offset_of!($crate::raw::$raw64<LittleEndian>, $field)
            }
        };
        $crate::error::Field::new(
            ::core::stringify!($field),
            u64::saturating_add($base, boot_core::arith::to_u64(offset)),
        )
    }};
}

pub(crate) use field;
