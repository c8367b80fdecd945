//! What can be wrong with an ELF file, each time with the field, where it is, and what was found.

use core::fmt;

use boot_core::format::FormatErrorKind;
use boot_core::{Endian, GuestRange, ImageError, ReadError};

use crate::{Class, MAX_NOTES, MAX_PROGRAM_HEADERS};

/// A header field and its place in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct At {
    /// The field's name in the specification.
    pub field: &'static str,
    /// The file offset of its first byte.
    pub offset: u64,
}

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` at byte {:#x}", self.field, self.offset)
    }
}

/// What a field must hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Expected {
    /// This value.
    Exactly(u64),
    /// One of two values.
    Either(u64, u64),
    /// A power of two, or zero.
    PowerOfTwoOrZero,
    /// A power of two.
    PowerOfTwo,
    /// Any value but zero.
    NonZero,
}

impl fmt::Display for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exactly(value) => write!(f, "{value:#x}"),
            Self::Either(a, b) => write!(f, "{a:#x} or {b:#x}"),
            Self::PowerOfTwoOrZero => write!(f, "zero or a power of two"),
            Self::PowerOfTwo => write!(f, "a power of two"),
            Self::NonZero => write!(f, "a value other than zero"),
        }
    }
}

/// A structure or a range of bytes that a header points to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Part {
    /// The ELF header.
    FileHeader,
    /// The program header table.
    ProgramHeaders,
    /// Section header 0.
    SectionHeader,
    /// The file content of the program header with this index.
    Segment(u32),
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::FileHeader => write!(f, "the ELF header"),
            Self::ProgramHeaders => write!(f, "the program header table"),
            Self::SectionHeader => write!(f, "section header 0"),
            Self::Segment(index) => write!(f, "the content of program header {index}"),
        }
    }
}

/// Why an ELF file is no kernel image that this crate accepts.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ElfError {
    /// The file could not be read.
    #[error("the ELF file cannot be read")]
    Read(#[from] ReadError),
    /// The file keeps the rules but is nothing this crate loads.
    #[error(transparent)]
    Unsupported(#[from] Unsupported),
    /// A field holds what it must not.
    #[error("{at} is {found:#x}, expected {expected}")]
    Value {
        /// The field.
        at: At,
        /// What it holds.
        found: u64,
        /// What it may hold.
        expected: Expected,
    },
    /// A part of the file that a header points to ends past the end of the file.
    #[error(
        "{part} ends past the end of the file: {len:#x} bytes at offset {offset:#x} ({at}) of a file of {file_len:#x} \
         bytes; is the file truncated?"
    )]
    PastEnd {
        /// What is cut.
        part: Part,
        /// The field that points there.
        at: At,
        /// The file offset it starts at.
        offset: u64,
        /// Its length in bytes.
        len: u64,
        /// The length of the file in bytes.
        file_len: u64,
    },
    /// A segment with more bytes in the file than in memory.
    #[error("program header {index}: {at} is {filesz:#x}, more than its `p_memsz` of {memsz:#x}")]
    FileLargerThanMemory {
        /// The program header's index.
        index: u32,
        /// Its `p_filesz`.
        at: At,
        /// The value of `p_filesz`.
        filesz: u64,
        /// The value of `p_memsz`.
        memsz: u64,
    },
    /// A segment that does not end in its address space.
    #[error(
        "program header {index}: {memsz:#x} bytes from {start:#x} ({at}) do not fit the {class} address space"
    )]
    Wraps {
        /// The program header's index.
        index: u32,
        /// The address field: `p_vaddr` or `p_paddr`.
        at: At,
        /// The value of the address field.
        start: u64,
        /// The value of `p_memsz`.
        memsz: u64,
        /// The class of the file.
        class: Class,
    },
    /// A segment whose virtual address and file offset disagree modulo `p_align`.
    #[error(
        "program header {index}: `p_vaddr` {vaddr:#x} and `p_offset` {offset:#x} must be congruent modulo {at}, which is \
         {align:#x}"
    )]
    Misaligned {
        /// The program header's index.
        index: u32,
        /// Its `p_align`.
        at: At,
        /// The value of `p_vaddr`.
        vaddr: u64,
        /// The value of `p_offset`.
        offset: u64,
        /// The value of `p_align`.
        align: u64,
    },
    /// Two segments share physical addresses.
    #[error(
        "program headers {} and {} overlap: physical addresses {} and {}",
        .first.0, .second.0, .first.1, .second.1
    )]
    Overlap {
        /// The index and the physical addresses of the lower one.
        first: (u32, GuestRange),
        /// The index and the physical addresses of the higher one.
        second: (u32, GuestRange),
    },
    /// No segment to load.
    #[error("none of the {count} program headers is a PT_LOAD with a size: there is nothing to load")]
    NothingToLoad {
        /// The number of program headers.
        count: u32,
    },
    /// An entry point outside every segment.
    #[error(
        "{at} is {entry:#x}, which is neither a virtual address in an executable segment nor a physical address in any \
         segment"
    )]
    EntryOutside {
        /// The field `e_entry`.
        at: At,
        /// Its value.
        entry: u64,
    },
    /// An entry point that lies in two executable segments at once.
    #[error("{at} is {entry:#x}, a virtual address of two segments: physical {first:#x} and {second:#x}")]
    AmbiguousEntry {
        /// The field `e_entry`.
        at: At,
        /// Its value.
        entry: u64,
        /// The physical address by the one segment.
        first: u64,
        /// The physical address by the other segment.
        second: u64,
    },
    /// No entry point of any kind.
    #[error("{at} is 0 and there is no PVH entry note: the file has no entry point")]
    NoEntry {
        /// The field `e_entry`.
        at: At,
    },
    /// A note that ends past the end of its segment.
    #[error("the note at byte {offset:#x} ends past its PT_NOTE segment, which ends at byte {end:#x}")]
    NotePastEnd {
        /// The file offset of the note.
        offset: u64,
        /// The file offset of the end of the segment.
        end: u64,
    },
    /// A PVH entry note whose value is no number.
    #[error("the PVH entry note at byte {offset:#x} has a value of {len} bytes, expected 4 or 8")]
    PvhEntrySize {
        /// The file offset of the value.
        offset: u64,
        /// Its length in bytes.
        len: u64,
    },
    /// A PVH entry point where no 32-bit processor can start, or outside every segment.
    #[error(
        "the PVH entry point {entry:#x} (note at byte {offset:#x}) is not a physical address below 4 GiB in any segment"
    )]
    PvhEntryOutside {
        /// The file offset of the note's value.
        offset: u64,
        /// The entry point.
        entry: u64,
    },
    /// Two PVH entry notes that differ.
    #[error("two PVH entry notes disagree: {first:#x} and {second:#x}")]
    PvhEntryTwice {
        /// The first entry point.
        first: u64,
        /// The second entry point.
        second: u64,
    },
    /// Two PVH relocation notes.
    #[error("there is a second PVH relocation note at byte {offset:#x}")]
    PvhRelocTwice {
        /// The file offset of the second one's value.
        offset: u64,
    },
    /// The image as a whole breaks a promise of [`KernelImage`](boot_core::KernelImage).
    #[error("the ELF file makes no valid kernel image")]
    Image(#[from] ImageError),
}

/// What this crate does not load although it is well-formed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unsupported {
    /// A machine this crate does not know.
    #[error(
        "{at} is {machine}: unsupported, the kernels supported are i386 (3), x86_64 (62), arm64 (183) and riscv64 (243)"
    )]
    Machine {
        /// The field `e_machine`.
        at: At,
        /// Its value.
        machine: u16,
    },
    /// A machine in a class or byte order that is not supported for it.
    #[error("{class} {endian}-endian files for machine {machine} ({at}) are unsupported")]
    MachineEncoding {
        /// The field `e_machine`.
        at: At,
        /// Its value.
        machine: u16,
        /// The class of the file.
        class: Class,
        /// The byte order of the file.
        endian: Endian,
    },
    /// An object file: ET_REL.
    #[error("unsupported: an object file or kernel module ({at} is ET_REL), not a linked kernel")]
    Object {
        /// The field `e_type`.
        at: At,
    },
    /// A core dump: ET_CORE.
    #[error("unsupported: a core dump ({at} is ET_CORE), not a kernel")]
    Core {
        /// The field `e_type`.
        at: At,
    },
    /// A program for a running operating system: it has a PT_INTERP program header.
    #[error(
        "unsupported: a dynamically linked user program, not a kernel (program header {index} is PT_INTERP, {at})"
    )]
    UserProgram {
        /// The index of the PT_INTERP program header.
        index: u32,
        /// Its `p_type`.
        at: At,
    },
    /// More program headers than any kernel has.
    #[error("{at} counts {count} program headers: at most {MAX_PROGRAM_HEADERS} are supported")]
    TooManyProgramHeaders {
        /// The field that counts them: `e_phnum` or, in files with very many, `sh_info`.
        at: At,
        /// The number of program headers.
        count: u32,
    },
    /// More notes than any kernel has.
    #[error("there are more than {MAX_NOTES} notes, up to byte {offset:#x}: more are unsupported")]
    TooManyNotes {
        /// The file offset of the first note too many.
        offset: u64,
    },
}

impl ElfError {
    /// Whether the file breaks the rules, needs something this crate does not do, or could not be read.
    #[must_use]
    pub fn kind(&self) -> FormatErrorKind {
        match self {
            Self::Read(_) => FormatErrorKind::Read,
            Self::Unsupported(_) => FormatErrorKind::Unsupported,
            _ => FormatErrorKind::Malformed,
        }
    }
}
