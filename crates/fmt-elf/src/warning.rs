//! Warnings of the ELF parser.

use alloc::vec::Vec;
use core::fmt;
use core::mem::discriminant;

use crate::error::{Field, ValidValues};
use crate::note_error::NoteError;

/// Warning of the ELF parser: a finding that does not stop the file from being loaded.
///
/// An image has at most one warning of each kind: that of the first finding. `more` is the number of further ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Warning {
    /// `p_paddr` is a virtual address of the kernel, as in the `vmlinux` of arm64 and riscv64. Boot loaders should
    /// start the `Image` instead, which also specifies how much memory the kernel needs.
    VirtualLinkAddress {
        /// Lowest address of a segment.
        start: u64,
    },
    /// `p_paddr` of an x86 kernel is a virtual address. Its linker script does not specify physical addresses.
    VirtualLoadAddress {
        /// Lowest address of a segment.
        start: u64,
    },
    /// The file has a `PT_INTERP` program header, like a dynamically linked user program, but also marks of a kernel. The
    /// kernels of FreeBSD have one.
    Interpreter {
        /// Index of the program header.
        index: u32,
        /// Its field `p_type`.
        field: Field,
    },
    /// A field that does not matter to a boot loader has an invalid value.
    InvalidField {
        /// The field.
        field: Field,
        /// Its value.
        value: u64,
        /// Valid values.
        expected: ValidValues,
        /// Number of further such fields.
        more: u32,
    },
    /// `p_align` of a `PT_LOAD` is neither zero nor a power of two (gABI chapter 5). It is ignored.
    InvalidAlign {
        /// Index of the program header.
        index: u32,
        /// The field `p_align`.
        field: Field,
        /// Its value.
        align: u64,
        /// Number of further such program headers.
        more: u32,
    },
    /// `p_vaddr` and `p_offset` of a segment are not congruent modulo `p_align` (gABI chapter 5). This matters only to
    /// loaders that map the file.
    Misaligned {
        /// Index of the program header.
        index: u32,
        /// The field `p_align`.
        field: Field,
        /// Value of `p_vaddr`.
        vaddr: u64,
        /// Value of `p_offset`.
        offset: u64,
        /// Value of `p_align`.
        align: u64,
        /// Number of further such program headers.
        more: u32,
    },
    /// The virtual addresses of a segment exceed the address space of the file's class. The segment is loaded at its physical
    /// address.
    VirtualAddressOverflow {
        /// Index of the program header.
        index: u32,
        /// The field `p_vaddr`.
        field: Field,
        /// Its value.
        vaddr: u64,
        /// Value of `p_memsz`.
        memsz: u64,
        /// Number of further such program headers.
        more: u32,
    },
    /// `e_entry` cannot be used; the kernel has a PVH entry point.
    EntryIgnored {
        /// The field `e_entry`.
        field: Field,
        /// Its value.
        entry: u64,
    },
    /// A malformed note is ignored.
    Note {
        /// The error.
        error: NoteError,
        /// Number of further malformed notes.
        more: u32,
    },
}

impl Warning {
    fn more_mut(&mut self) -> Option<&mut u32> {
        match self {
            Self::VirtualLinkAddress { .. }
            | Self::VirtualLoadAddress { .. }
            | Self::Interpreter { .. }
            | Self::EntryIgnored { .. } => None,
            Self::InvalidField { more, .. }
            | Self::InvalidAlign { more, .. }
            | Self::Misaligned { more, .. }
            | Self::VirtualAddressOverflow { more, .. }
            | Self::Note { more, .. } => Some(more),
        }
    }

    fn more(mut self) -> u32 {
        self.more_mut().map_or(0, |more| *more)
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::VirtualLinkAddress { start } => write!(
                f,
                "the lowest `p_paddr` is {start:#x}, a virtual address, as in a Linux vmlinux; boot the Image that was \
                 made from it instead, which also specifies how much memory the kernel needs"
            ),
            Self::VirtualLoadAddress { start } => write!(
                f,
                "the lowest `p_paddr` is {start:#x}, a virtual address; the linker script of the kernel must specify \
                 physical load addresses (`AT`)"
            ),
            Self::Interpreter { index, field } => write!(
                f,
                "program header {index} is PT_INTERP ({field}), as in a dynamically linked user program; the file has marks \
                 of a kernel, so it is ignored"
            ),
            Self::InvalidField {
                field,
                value,
                expected,
                ..
            } => write!(f, "{field} is {value:#x}, expected {expected}; it is ignored"),
            Self::InvalidAlign {
                index, field, align, ..
            } => write!(
                f,
                "program header {index}: {field} is {align:#x}, expected zero or a power of two; it is ignored"
            ),
            Self::Misaligned {
                index,
                field,
                vaddr,
                offset,
                align,
                ..
            } => write!(
                f,
                "program header {index}: `p_vaddr` {vaddr:#x} and `p_offset` {offset:#x} are not congruent modulo {field}, \
                 which is {align:#x}; this matters only to loaders that map the file"
            ),
            Self::VirtualAddressOverflow {
                index,
                field,
                vaddr,
                memsz,
                ..
            } => write!(
                f,
                "program header {index}: {memsz:#x} bytes from {vaddr:#x} ({field}) exceed the address space; the physical \
                 address is used"
            ),
            Self::EntryIgnored { field, entry } => write!(
                f,
                "{field} is {entry:#x}, which is not the address of one segment; only the PVH entry point can be used"
            ),
            Self::Note { error, .. } => write!(f, "a note is ignored: {error}"),
        }?;
        match self.more() {
            0 => Ok(()),
            more => write!(f, " (and {more} more)"),
        }
    }
}

/// Warnings of a file: one of each kind, so that their number does not depend on the file.
#[derive(Debug, Default)]
pub(crate) struct Warnings(Vec<Warning>);

impl Warnings {
    /// Adds a warning, or counts it if there is one of the same kind.
    pub(crate) fn add(&mut self, warning: Warning) {
        let kind = discriminant(&warning);
        match self.0.iter_mut().find(|other| discriminant(*other) == kind) {
            Some(first) => {
                if let Some(more) = first.more_mut() {
                    *more = more.saturating_add(1);
                }
            }
            None => self.0.push(warning),
        }
    }

    /// Adds a warning if the value of a field is invalid.
    pub(crate) fn check(&mut self, expected: ValidValues, field: Field, value: impl Into<u64>) {
        let value = value.into();
        if !expected.contains(value) {
            self.add(Warning::InvalidField {
                field,
                value,
                expected,
                more: 0,
            });
        }
    }

    /// The warnings, in the order of their first findings.
    pub(crate) fn list(&self) -> &[Warning] {
        &self.0
    }
}
