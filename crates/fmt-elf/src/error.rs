//! Errors of the ELF parser.

use core::fmt;

use boot_core::{Endian, FormatErrorKind, GuestRange, ImageError, ReadError};
#[cfg(feature = "sandbox")]
use boot_sandbox::GuestNoteError;

use crate::encoding::Class;
use crate::limits::MAX_PROGRAM_HEADERS;
use crate::note_error::NoteError;

/// Field of a header and its position in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Field {
    /// Name in the specification.
    pub name: &'static str,
    /// File offset of its first byte.
    pub offset: u64,
}

impl Field {
    /// Field with this name at this file offset.
    #[must_use]
    pub const fn new(name: &'static str, offset: u64) -> Self {
        Self { name, offset }
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` at byte {:#x}", self.name, self.offset)
    }
}

/// Values that are valid in a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ValidValues {
    /// Only this value.
    Exactly(u64),
    /// One of two values.
    Either(u64, u64),
    /// Any value but zero.
    NonZero,
}

impl ValidValues {
    /// True if `value` is valid.
    pub(crate) fn contains(self, value: u64) -> bool {
        match self {
            Self::Exactly(expected) => value == expected,
            Self::Either(a, b) => value == a || value == b,
            Self::NonZero => value != 0,
        }
    }

    /// Checks the value of a field.
    pub(crate) fn check(self, field: Field, value: impl Into<u64>) -> Result<(), ElfError> {
        let value = value.into();
        if self.contains(value) {
            Ok(())
        } else {
            Err(ElfError::InvalidField {
                field,
                value,
                expected: self,
            })
        }
    }
}

impl fmt::Display for ValidValues {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exactly(value) => write!(f, "{value:#x}"),
            Self::Either(a, b) => write!(f, "{a:#x} or {b:#x}"),
            Self::NonZero => write!(f, "a value other than zero"),
        }
    }
}

/// Region of the file that must lie inside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FileRegion {
    /// ELF header.
    FileHeader,
    /// Program header table.
    ProgramHeaderTable,
    /// Section header 0.
    SectionHeader0,
    /// Content of the segment with this program header index.
    Segment(u32),
}

impl fmt::Display for FileRegion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::FileHeader => write!(f, "the ELF header"),
            Self::ProgramHeaderTable => write!(f, "the program header table"),
            Self::SectionHeader0 => write!(f, "section header 0"),
            Self::Segment(index) => write!(f, "the segment of program header {index}"),
        }
    }
}

/// Error of the ELF parser.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ElfError {
    /// The file could not be read.
    #[error("the ELF file cannot be read")]
    Read(#[from] ReadError),
    /// The file is well-formed, but this crate does not load its kind.
    #[error(transparent)]
    Unsupported(#[from] Unsupported),
    /// A field has an invalid value.
    #[error("{field} is {value:#x}, expected {expected}")]
    InvalidField {
        /// The field.
        field: Field,
        /// Its value.
        value: u64,
        /// Valid values.
        expected: ValidValues,
    },
    /// A region that a header refers to ends past the end of the file.
    #[error(
        "{region} ends past the end of the file: {len:#x} bytes at offset {offset:#x} ({field}) of a file of {file_len:#x} \
         bytes; is the file truncated?"
    )]
    Truncated {
        /// The region.
        region: FileRegion,
        /// The field that refers to it.
        field: Field,
        /// File offset of the region.
        offset: u64,
        /// Length of the region in bytes.
        len: u64,
        /// Length of the file in bytes.
        file_len: u64,
    },
    /// `p_filesz` of a segment exceeds its `p_memsz`.
    #[error("program header {index}: {field} is {filesz:#x}, more than its `p_memsz` of {memsz:#x}")]
    FileSizeExceedsMemorySize {
        /// Index of the program header.
        index: u32,
        /// The field `p_filesz`.
        field: Field,
        /// Value of `p_filesz`.
        filesz: u64,
        /// Value of `p_memsz`.
        memsz: u64,
    },
    /// The physical addresses of a segment exceed the address space of the file's class.
    #[error(
        "program header {index}: {memsz:#x} bytes from {start:#x} ({field}) do not fit the {class} address space"
    )]
    AddressOverflow {
        /// Index of the program header.
        index: u32,
        /// The field `p_paddr`.
        field: Field,
        /// Value of the field.
        start: u64,
        /// Value of `p_memsz`.
        memsz: u64,
        /// Class of the file.
        class: Class,
    },
    /// Two segments overlap in physical memory.
    #[error(
        "program headers {} and {} overlap: physical addresses {} and {}",
        .first.0, .second.0, .first.1, .second.1
    )]
    SegmentsOverlap {
        /// Index and physical range of the segment with the lower address.
        first: (u32, GuestRange),
        /// Index and physical range of the segment with the higher address.
        second: (u32, GuestRange),
    },
    /// No `PT_LOAD` program header has a size in memory.
    #[error(
        "none of the {count} program headers is a PT_LOAD with a nonzero `p_memsz`: there is nothing to load"
    )]
    NoLoadableSegment {
        /// Number of program headers.
        count: u32,
    },
    /// The entry point lies outside every segment.
    #[error(
        "{field} is {entry:#x}, which is neither a virtual address in an executable segment nor a physical address in any \
         segment"
    )]
    EntryOutsideSegments {
        /// The field `e_entry`.
        field: Field,
        /// Its value.
        entry: u64,
    },
    /// The entry point is a virtual address of two executable segments.
    #[error("{field} is {entry:#x}, a virtual address of two segments: physical {first:#x} and {second:#x}")]
    AmbiguousEntry {
        /// The field `e_entry`.
        field: Field,
        /// Its value.
        entry: u64,
        /// Physical address in the first segment.
        first: u64,
        /// Physical address in the second segment.
        second: u64,
    },
    /// The file has neither an ELF nor a PVH entry point.
    #[error("{field} is 0 and there is no PVH entry note: the file has no entry point")]
    NoEntry {
        /// The field `e_entry`.
        field: Field,
    },
    /// A note is malformed. An error of [`parse`](crate::parse()) only if the file has no entry point otherwise.
    #[error(transparent)]
    Note(#[from] NoteError),
    /// The note of a sandbox's guest is malformed, or for another version.
    #[cfg(feature = "sandbox")]
    #[error("the note of a sandbox's guest at byte {offset:#x} cannot be used")]
    GuestNote {
        /// File offset of its descriptor.
        offset: u64,
        /// What is wrong.
        source: GuestNoteError,
    },
    /// A second note of a sandbox's guest.
    #[cfg(feature = "sandbox")]
    #[error(
        "the file has two notes of a sandbox's guest, at byte {first:#x} and {second:#x}; its runtime must be linked once"
    )]
    SecondGuestNote {
        /// File offset of the first descriptor.
        first: u64,
        /// File offset of the second descriptor.
        second: u64,
    },
    /// The file does not make a valid [`KernelImage`](boot_core::KernelImage).
    #[error("the ELF file is not a valid kernel image")]
    Image(#[from] ImageError),
}

/// The name of a machine that is not supported, in parentheses, if it is a known one (gABI chapter 2, `e_machine`).
fn machine_name(machine: u16) -> &'static str {
    match machine {
        8 => " (MIPS)",
        20 => " (PowerPC)",
        21 => " (PowerPC64)",
        22 => " (S/390)",
        40 => " (32-bit ARM)",
        258 => " (LoongArch)",
        _ => "",
    }
}

/// Reason why this crate does not load a well-formed file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unsupported {
    /// Unsupported machine.
    #[error(
        "{field} is {machine}{}; the machines supported are i386 (3), x86_64 (62), arm64 (183) and riscv64 (243)",
        machine_name(*.machine)
    )]
    Machine {
        /// The field `e_machine`.
        field: Field,
        /// Its value.
        machine: u16,
    },
    /// Class or byte order that is not supported for the machine.
    #[error("{field} is {machine}, a machine without support for {class} {endian}-endian files")]
    MachineEncoding {
        /// The field `e_machine`.
        field: Field,
        /// Its value.
        machine: u16,
        /// Class of the file.
        class: Class,
        /// Byte order of the file.
        endian: Endian,
    },
    /// Relocatable file, `ET_REL`: an object file or a kernel module.
    #[error("an object file or kernel module ({field} is ET_REL), not a linked kernel")]
    RelocatableFile {
        /// The field `e_type`.
        field: Field,
    },
    /// Core file, `ET_CORE`.
    #[error("a core dump ({field} is ET_CORE), not a kernel")]
    CoreFile {
        /// The field `e_type`.
        field: Field,
    },
    /// Dynamically linked program of an operating system: the file has a `PT_INTERP` program header and no mark of a
    /// kernel.
    #[error("a dynamically linked user program, not a kernel (program header {index} is PT_INTERP, {field})")]
    DynamicallyLinked {
        /// Index of the `PT_INTERP` program header.
        index: u32,
        /// Its field `p_type`.
        field: Field,
    },
    /// Guest of a sandbox that is not a little-endian 64-bit file.
    #[cfg(feature = "sandbox")]
    #[error(
        "a sandbox's guest (note at byte {offset:#x}) in a {class} {endian}-endian file; only little-endian 64-bit files are supported"
    )]
    GuestEncoding {
        /// File offset of the note's descriptor.
        offset: u64,
        /// Class of the file.
        class: Class,
        /// Byte order of the file.
        endian: Endian,
    },
    /// More than [`MAX_PROGRAM_HEADERS`] program headers.
    #[error("{field} is {count}; at most {MAX_PROGRAM_HEADERS} program headers are supported")]
    TooManyProgramHeaders {
        /// The field `e_phnum` or, with `PN_XNUM`, `sh_info` of section header 0.
        field: Field,
        /// Number of program headers.
        count: u32,
    },
}

impl ElfError {
    /// Category of the error.
    #[must_use]
    pub fn kind(&self) -> FormatErrorKind {
        match self {
            Self::Read(_) => FormatErrorKind::Read,
            Self::Unsupported(_) => FormatErrorKind::Unsupported,
            #[cfg(feature = "sandbox")]
            Self::GuestNote { source, .. } if source.is_unsupported() => FormatErrorKind::Unsupported,
            _ => FormatErrorKind::Malformed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{ElfError, Field, ValidValues};

    #[test]
    fn values_are_valid_or_an_error_with_all_details() {
        let field = Field::new("e_field", 7);
        let check = |valid: ValidValues, accepted: &[u64], refused: &[u64]| {
            for value in accepted {
                assert!(valid.check(field, *value).is_ok(), "{valid:?} {value}");
            }
            for value in refused {
                let Err(ElfError::InvalidField {
                    field: found,
                    value: rejected,
                    expected,
                }) = valid.check(field, *value)
                else {
                    panic!("{valid:?} {value}");
                };
                assert_eq!((found, rejected, expected), (field, *value, valid));
            }
        };
        check(ValidValues::Exactly(3), &[3], &[0, 2, 4]);
        check(ValidValues::Either(3, 5), &[3, 5], &[0, 4, 6]);
        check(ValidValues::NonZero, &[1, u64::MAX], &[0]);
    }
}
