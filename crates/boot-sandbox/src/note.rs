//! The note of a guest program.

use core::fmt;

use boot_core::{Arch, GuestRange, arith};
use sandbox_abi::{FunctionRecord, Note, NoteFlags, VERSION};
use zerocopy::FromBytes;

/// A table of functions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum GuestTable {
    /// The functions that the guest offers.
    Exports,
    /// The functions that the guest needs from its host.
    Imports,
}

impl fmt::Display for GuestTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Exports => "exports",
            Self::Imports => "imports",
        })
    }
}

/// Code that a note refers to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NotePart {
    /// The first instruction.
    Entry,
    /// The exception handlers.
    Vectors,
}

impl NotePart {
    /// Alignment in bytes: a power of two.
    #[must_use]
    pub const fn align(self, arch: Arch) -> u64 {
        match (self, arch) {
            (Self::Entry, Arch::X86_64) => 1,
            (Self::Entry, Arch::Riscv64) => 2,
            (Self::Vectors, Arch::X86_64) => 16,
            (Self::Vectors, Arch::Aarch64) => 0x800,
            _ => 4,
        }
    }

    /// Length in bytes; at least one instruction where the length is not fixed.
    #[must_use]
    pub const fn size(self, arch: Arch) -> u64 {
        match (self, arch) {
            (Self::Entry, Arch::X86_64) => 1,
            (_, Arch::Riscv64) => 2,
            // 32 vectors of 16 bytes.
            (Self::Vectors, Arch::X86_64) => 0x200,
            // 16 vectors of 128 bytes (Arm ARM, D1.3.1).
            (Self::Vectors, Arch::Aarch64) => 0x800,
            _ => 4,
        }
    }
}

impl fmt::Display for NotePart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Entry => "entry point",
            Self::Vectors => "exception handlers",
        })
    }
}

/// A note whose fields are valid. [`GuestImage`](crate::GuestImage) checks its addresses. They are virtual.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct GuestNote {
    /// Minor version of the interface, at most that of [`sandbox_abi::VERSION`]. The major versions are equal.
    pub minor: u16,
    /// Requirements, all of them known.
    pub flags: NoteFlags,
    /// The first instruction.
    pub entry: u64,
    /// Exception handlers.
    pub vectors: u64,
    /// Records of the functions that the guest offers: a multiple of the size of a record, and not more than
    /// [`FunctionRecord::MAX_RECORDS`].
    pub exports: GuestRange,
    /// Records of the functions that the guest needs, within the same limits.
    pub imports: GuestRange,
    /// Smallest heap in bytes.
    pub min_heap: u64,
    /// Smallest stack in bytes.
    pub min_stack: u64,
}

impl GuestNote {
    /// Owner of the ELF note, without the terminating zero.
    pub const OWNER: &'static str = Note::OWNER;

    /// Type of the ELF note.
    pub const TYPE: u32 = Note::TYPE;

    /// Parses the descriptor of a note of the owner [`Note::OWNER`] and the type [`Note::TYPE`].
    ///
    /// # Errors
    ///
    /// The version, length, flags, reserved bytes, alignments or lengths are not those of this interface.
    pub fn parse(arch: Arch, descriptor: &[u8]) -> Result<Self, GuestNoteError> {
        let length = || GuestNoteError::Length {
            found: descriptor.len(),
        };
        // The version comes first: other versions may have other lengths.
        let version = descriptor.first_chunk().ok_or_else(length)?;
        let [a, b, c, d] = *version;
        let found = (u16::from_le_bytes([a, b]), u16::from_le_bytes([c, d]));
        if found.0 != VERSION.0 || found.1 > VERSION.1 {
            return Err(GuestNoteError::Version { found });
        }
        let note = Note::read_from_bytes(descriptor).ok().ok_or_else(length)?;
        let unknown = note.flags.unknown();
        if unknown != 0 {
            return Err(GuestNoteError::Flags { unknown });
        }
        if note.reserved.iter().any(|word| word.get() != 0) {
            return Err(GuestNoteError::Reserved);
        }
        for (part, addr) in [
            (NotePart::Entry, note.entry.get()),
            (NotePart::Vectors, note.vectors.get()),
        ] {
            let align = part.align(arch);
            if arith::align_down(addr, align) != addr {
                return Err(GuestNoteError::Misaligned { part, addr, align });
            }
        }
        Ok(Self {
            minor: note.minor.get(),
            flags: note.flags,
            entry: note.entry.get(),
            vectors: note.vectors.get(),
            exports: records(GuestTable::Exports, note.exports.get(), note.exports_end.get())?,
            imports: records(GuestTable::Imports, note.imports.get(), note.imports_end.get())?,
            min_heap: note.min_heap.get(),
            min_stack: note.min_stack.get(),
        })
    }

    /// The range of a table.
    #[must_use]
    pub const fn table(&self, table: GuestTable) -> GuestRange {
        match table {
            GuestTable::Exports => self.exports,
            GuestTable::Imports => self.imports,
        }
    }

    /// The address of code.
    #[must_use]
    pub const fn part(&self, part: NotePart) -> u64 {
        match part {
            NotePart::Entry => self.entry,
            NotePart::Vectors => self.vectors,
        }
    }
}

/// Size of a record in bytes.
pub(crate) const RECORD: u64 = arith::to_u64(size_of::<FunctionRecord>());

/// The range of a table of whole records.
fn records(table: GuestTable, start: u64, end: u64) -> Result<GuestRange, GuestNoteError> {
    let range = GuestRange::from_bounds(start, end)
        .filter(|range| range.len() % RECORD == 0)
        .ok_or(GuestNoteError::Table { table, start, end })?;
    let found = range.len() / RECORD;
    if found > FunctionRecord::MAX_RECORDS {
        return Err(GuestNoteError::TooManyRecords { table, found });
    }
    Ok(range)
}

/// Error in the note of a guest program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum GuestNoteError {
    /// The guest was built for another version of the interface.
    #[error(
        "the guest needs version {}.{} of the interface, this host has {}.{}",
        found.0, found.1, VERSION.0, VERSION.1
    )]
    Version {
        /// Major and minor version in the note.
        found: (u16, u16),
    },
    /// The descriptor has another length.
    #[error("the note has {found} bytes, expected {}", size_of::<Note>())]
    Length {
        /// Its length in bytes.
        found: usize,
    },
    /// The guest requires something that this version does not have.
    #[error("the note has the unknown flags {unknown:#x}")]
    Flags {
        /// The unknown bits.
        unknown: u32,
    },
    /// Reserved bytes are not zero.
    #[error("reserved bytes of the note are not zero")]
    Reserved,
    /// Code is not aligned.
    #[error("the address of the {part} is {addr:#x}, expected a multiple of {align}")]
    Misaligned {
        /// The code.
        part: NotePart,
        /// Its address.
        addr: u64,
        /// Its alignment in bytes.
        align: u64,
    },
    /// A table does not have a whole number of records.
    #[error("the table of {table} is {start:#x}..{end:#x}, expected a multiple of {RECORD} bytes")]
    Table {
        /// The table.
        table: GuestTable,
        /// Address of its first record.
        start: u64,
        /// Address after its last record.
        end: u64,
    },
    /// A table is too long.
    #[error(
        "the table of {table} has {found} records, expected at most {}",
        FunctionRecord::MAX_RECORDS
    )]
    TooManyRecords {
        /// The table.
        table: GuestTable,
        /// Its number of records.
        found: u64,
    },
    /// Code is not in an executable segment.
    #[error(
        "the {part} at {addr:#x} ({len} bytes) is not in the file's part of a segment that is executable and not writable"
    )]
    OutsideCode {
        /// The code.
        part: NotePart,
        /// Its address.
        addr: u64,
        /// Its length in bytes.
        len: u64,
    },
}

impl GuestNoteError {
    /// Whether the guest is well-formed but needs another host.
    #[must_use]
    pub const fn is_unsupported(&self) -> bool {
        matches!(self, Self::Version { .. } | Self::Flags { .. })
    }
}
