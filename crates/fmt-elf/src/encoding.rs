//! Class and byte order of a file.

use core::fmt;

use boot_core::Endian;

/// File class, `e_ident[EI_CLASS]`: the width of addresses and offsets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// `ELFCLASS32`.
    Elf32,
    /// `ELFCLASS64`.
    Elf64,
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Elf32 => "32-bit",
            Self::Elf64 => "64-bit",
        })
    }
}

/// Encoding of the structures of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Encoding {
    /// File class.
    pub class: Class,
    /// Byte order, `e_ident[EI_DATA]`.
    pub endian: Endian,
}
