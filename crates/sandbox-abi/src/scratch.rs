//! Pages for the copies that a guest makes of pages that it writes: see the section "Copies of written pages" of the crate.

use core::mem::{offset_of, size_of};

use zerocopy::little_endian::U64;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// State of the scratch area, at the start of its first page: [`BootInfo::scratch`](crate::BootInfo::scratch). Zeros at the start and after
/// each restore. The rest of the page is the guest's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct ScratchState {
    /// Number of pages that are in use, from [`BootInfo::copies`](crate::BootInfo::copies) on. The host takes it as a hint.
    pub used: U64,
    /// Number of pages that may be used besides [`BootInfo::copy_count`](crate::BootInfo::copy_count): 0, or [`RESERVE`](Self::RESERVE) once
    /// the guest reports that there are no more.
    pub extra: U64,
}

impl ScratchState {
    /// Pages behind the others, with which a guest reports that it has no more.
    pub const RESERVE: u64 = 16;
}

const _: () = assert!(size_of::<ScratchState>() == 16 && offset_of!(ScratchState, extra) == 8);

/// Bit of an entry of x86_64's page tables: a write to the page, which is not writable, takes a copy (Intel SDM volume 3A, table 4-20:
/// ignored by the CPU).
pub const COPY_FLAG_X86_64: u64 = 1 << 9;

/// The same bit of arm64's descriptors, reserved for software (Arm ARM, D8.3.2).
pub const COPY_FLAG_AARCH64: u64 = 1 << 55;

/// The same bit of riscv64's entries, the lower one of `RSW` (RISC-V Privileged Architecture, "Sv39").
pub const COPY_FLAG_RISCV64: u64 = 1 << 8;
