//! The ELF note of a guest.

use core::mem::{offset_of, size_of};

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Requirements and abilities of a guest. Hosts refuse flags that they do not know.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(transparent)]
pub struct NoteFlags(U32);

impl NoteFlags {
    /// No requirement.
    pub const NONE: Self = Self(U32::new(0));
    /// The guest uses floating-point or SIMD registers.
    pub const FLOAT: Self = Self(U32::new(1));
    /// The guest's exception handlers take copies of pages at writes, if the boot information has a [scratch
    /// area](crate::BootInfo::scratch). Not a requirement: hosts with another way to track writes need no such guest.
    pub const COPIES_PAGES: Self = Self(U32::new(2));

    /// These flags and `other`.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(U32::new(self.bits() | other.bits()))
    }

    /// Whether all of `other` are set.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.bits() & other.bits() == other.bits()
    }

    /// The bits.
    #[must_use]
    pub const fn bits(self) -> u32 {
        self.0.get()
    }

    /// Bits without a meaning in this version.
    #[must_use]
    pub const fn unknown(self) -> u32 {
        self.bits() & !Self::FLOAT.union(Self::COPIES_PAGES).bits()
    }
}

/// Descriptor of the note. Addresses are virtual; the segments that contain them are not writable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Note {
    /// Major version of the interface.
    pub major: U16,
    /// Minor version of the interface.
    pub minor: U16,
    /// Requirements.
    pub flags: NoteFlags,
    /// The first instruction. x86_64: 64-bit mode, paging on, `RSP` is the end of the stack less 8. arm64, riscv64: MMU off, `X0` or
    /// `a0` is the address of the boot information.
    pub entry: U64,
    /// Exception handlers. x86_64: 32 entries of 16 bytes, one for each vector. arm64: the vector table. riscv64: the trap handler, a
    /// multiple of 4.
    pub vectors: U64,
    /// First record of the functions that the guest offers.
    pub exports: U64,
    /// End of these records, exclusive.
    pub exports_end: U64,
    /// First record of the functions that the guest needs from its host.
    pub imports: U64,
    /// End of these records, exclusive.
    pub imports_end: U64,
    /// Smallest heap in bytes; 0 if the guest does not care.
    pub min_heap: U64,
    /// Smallest stack in bytes; 0 if the guest does not care.
    pub min_stack: U64,
    /// Reserved, zero.
    pub reserved: [U64; 3],
}

impl Note {
    /// Owner of the note, without the terminating zero.
    pub const OWNER: &'static str = "VMSandbox";
    /// Type of the note.
    pub const TYPE: u32 = 1;
}

const _: () = {
    assert!(size_of::<Note>() == 96);
    assert!(offset_of!(Note, flags) == 4 && offset_of!(Note, entry) == 8 && offset_of!(Note, vectors) == 16);
    assert!(offset_of!(Note, exports) == 24 && offset_of!(Note, imports) == 40);
    assert!(offset_of!(Note, min_heap) == 56 && offset_of!(Note, min_stack) == 64);
    assert!(offset_of!(Note, reserved) == 72);
};
