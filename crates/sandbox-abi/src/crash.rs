//! Records of panics and faults.

use core::mem::{offset_of, size_of};

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Why a guest stopped.
#[derive(
    Clone, Copy, PartialEq, Eq, Hash, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(transparent)]
pub struct CrashReason(U32);

impl CrashReason {
    /// A panic; the message is its text.
    pub const PANIC: Self = Self(U32::new(1));
    /// An exception of the CPU; [`CrashRecord::vector`] and [`CrashRecord::error_code`] have its number.
    pub const EXCEPTION: Self = Self(U32::new(2));
    /// The heap has no memory for an allocation.
    pub const OUT_OF_MEMORY: Self = Self(U32::new(3));
    /// The program gave up without a message.
    pub const ABORT: Self = Self(U32::new(4));
    /// A message of the host broke the protocol.
    pub const PROTOCOL: Self = Self(U32::new(5));
    /// A write needs a copy of a page, and all [pages for copies](crate::BootInfo::copy_count) are in use.
    pub const OUT_OF_COPIES: Self = Self(U32::new(6));

    /// The number.
    #[must_use]
    pub const fn number(self) -> u32 {
        self.0.get()
    }
}

/// Start of the body of a [`CRASH`](crate::MessageKind::CRASH) message. The text of [`message_len`](Self::message_len) bytes follows, and
/// for a panic a [`CrashLocation`] with the name of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct CrashRecord {
    /// Why the guest stopped.
    pub reason: CrashReason,
    /// Length of the text in bytes, UTF-8.
    pub message_len: U32,
    /// Address of the instruction.
    pub pc: U64,
    /// Stack pointer.
    pub sp: U64,
    /// Frame pointer.
    pub fp: U64,
    /// Return address in a register: `X30` or `ra`; 0 on x86_64.
    pub link: U64,
    /// Address of the access that failed: `CR2`, `FAR_EL1` or `stval`.
    pub fault_address: U64,
    /// Error code, `ESR_EL1` or `scause`.
    pub error_code: U64,
    /// `RFLAGS`, `SPSR_EL1` or `sstatus`.
    pub status: U64,
    /// Number of the exception vector.
    pub vector: U64,
    /// General registers. x86_64: `RAX`, `RDX`, `RCX`, `RBX`, `RSI`, `RDI`, `RBP`, `RSP`, `R8` to `R15` (DWARF order), then zeros.
    /// arm64: `X0` to `X30`, `SP`. riscv64: `x0` to `x31`.
    pub general: [U64; 32],
}

/// Position in the source of a panic, after the text. The name of the file follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct CrashLocation {
    /// Line, from 1.
    pub line: U32,
    /// Column, from 1.
    pub column: U32,
    /// Length of the file's name in bytes, UTF-8.
    pub file_len: U16,
    /// Reserved, zero.
    pub reserved: U16,
}

const _: () = {
    assert!(size_of::<CrashRecord>() == 328 && offset_of!(CrashRecord, general) == 72);
    assert!(offset_of!(CrashRecord, pc) == 8 && offset_of!(CrashRecord, fault_address) == 40);
    assert!(size_of::<CrashLocation>() == 12);
};
