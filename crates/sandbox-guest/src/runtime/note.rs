//! The ELF note that makes a program a sandbox guest.
#![expect(unsafe_code, reason = "a record with pointers, in a section of its own")]

use core::mem::{offset_of, size_of};

use sandbox_abi::{Note, NoteFlags, VERSION};
use zerocopy::little_endian::{U16, U32, U64};

use super::entry;
use super::tables::{EXPORTS, EXPORTS_END, IMPORTS, IMPORTS_END};
use crate::function::{Export, Import};

/// A [`Note`] whose addresses the linker writes.
#[repr(C, align(8))]
struct ElfNote {
    name_len: U32,
    descriptor_len: U32,
    kind: U32,
    name: [u8; 12],
    major: U16,
    minor: U16,
    flags: NoteFlags,
    entry: unsafe extern "C" fn() -> !,
    vectors: *const u8,
    exports: *const Export,
    exports_end: *const Export,
    imports: *const Import,
    imports_end: *const Import,
    min_heap: U64,
    min_stack: U64,
    reserved: [U64; 3],
}

/// Offset of the descriptor.
const DESCRIPTOR: usize = offset_of!(ElfNote, major);

const _: () = {
    assert!(DESCRIPTOR == 24 && size_of::<ElfNote>() == DESCRIPTOR + size_of::<Note>());
    assert!(offset_of!(ElfNote, entry) == DESCRIPTOR + offset_of!(Note, entry));
    assert!(offset_of!(ElfNote, vectors) == DESCRIPTOR + offset_of!(Note, vectors));
    assert!(offset_of!(ElfNote, exports) == DESCRIPTOR + offset_of!(Note, exports));
    assert!(offset_of!(ElfNote, imports) == DESCRIPTOR + offset_of!(Note, imports));
    assert!(offset_of!(ElfNote, min_heap) == DESCRIPTOR + offset_of!(Note, min_heap));
    assert!(offset_of!(ElfNote, reserved) == DESCRIPTOR + offset_of!(Note, reserved));
};

// SAFETY: the note is never changed, and its pointers are not dereferenced.
unsafe impl Sync for ElfNote {}

/// Targets without floating-point registers are those of bare metal on x86_64.
const FLAGS: NoteFlags = if cfg!(all(target_arch = "x86_64", not(target_feature = "sse2"))) {
    NoteFlags::COPIES_PAGES
} else {
    NoteFlags::COPIES_PAGES.union(NoteFlags::FLOAT)
};

#[used]
#[unsafe(link_section = ".note.vmsandbox")]
static NOTE: ElfNote = ElfNote {
    name_len: U32::new(10),
    descriptor_len: U32::new(96),
    kind: U32::new(Note::TYPE),
    name: *b"VMSandbox\0\0\0",
    major: U16::new(VERSION.0),
    minor: U16::new(VERSION.1),
    flags: FLAGS,
    entry: entry::start,
    vectors: &raw const entry::VECTORS,
    exports: &raw const EXPORTS,
    exports_end: &raw const EXPORTS_END,
    imports: &raw const IMPORTS,
    imports_end: &raw const IMPORTS_END,
    min_heap: U64::new(MIN_HEAP),
    min_stack: U64::new(MIN_STACK),
    reserved: [U64::new(0); 3],
};

/// The allocator needs some memory for its own.
const MIN_HEAP: u64 = if cfg!(feature = "allocator") { 0x1_0000 } else { 0 };
/// Formatting a panic takes a few KiB.
const MIN_STACK: u64 = 0x4000;
