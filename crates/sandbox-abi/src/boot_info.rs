//! The page that tells a guest its memory and its doorbell.

use core::mem::{offset_of, size_of};

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// I/O port of the doorbell of x86_64.
pub const PORT_DOORBELL: u16 = 0x6c;

/// Function number of the doorbell of arm64: a fast 64-bit call to the hypervisor's vendor (SMCCC 1.4, 2.5 and 6).
pub const HVC_DOORBELL: u32 = 0xc600_5342;

/// SBI extension of the doorbell of riscv64, the first of a vendor (SBI 2.0, 4 and 13).
pub const SBI_DOORBELL: u64 = 0x0900_0000;

/// How a guest rings the doorbell.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(transparent)]
pub struct DoorbellKind(U32);

impl DoorbellKind {
    /// x86_64: `OUT` of `EAX` to the I/O port [`BootInfo::doorbell`].
    pub const PORT: Self = Self(U32::new(1));
    /// arm64: `HVC #0` with [`BootInfo::doorbell`] in `X0`.
    pub const HVC: Self = Self(U32::new(2));
    /// arm64: a store of 4 bytes to the address [`BootInfo::doorbell`].
    pub const MMIO: Self = Self(U32::new(3));
    /// riscv64: `ECALL` with [`BootInfo::doorbell`] in `a7`.
    pub const SBI: Self = Self(U32::new(4));

    /// The number, also of a kind that this version does not know.
    #[must_use]
    pub const fn number(self) -> u32 {
        self.0.get()
    }
}

/// Contents of the page at [`layout::BOOT_INFO`](crate::layout::BOOT_INFO). The guest cannot write it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(8))]
pub struct BootInfo {
    /// [`BootInfo::MAGIC`].
    pub magic: U32,
    /// Major version of the interface.
    pub major: U16,
    /// Minor version of the host's interface.
    pub minor: U16,
    /// Address of the inbox.
    pub inbox: U64,
    /// Address of the outbox.
    pub outbox: U64,
    /// Length of the inbox, and of the outbox, in bytes, with the header of the message.
    pub window_len: U32,
    /// How the guest rings the doorbell.
    pub doorbell_kind: DoorbellKind,
    /// Port, function number, address or extension of the doorbell.
    pub doorbell: U64,
    /// Lowest address of the stack.
    pub stack: U64,
    /// Highest address of the stack, exclusive; a multiple of 16.
    pub stack_top: U64,
    /// Highest address of the stack for exception handlers, exclusive; a multiple of 16.
    pub fault_stack_top: U64,
    /// First address of the heap.
    pub heap: U64,
    /// Length of the heap in bytes.
    pub heap_len: U64,
    /// Largest payload in bytes that the host sends and accepts.
    pub max_payload: U64,
    /// Registers with which the guest's entry code turns the MMU on. arm64: `MAIR_EL1`, `TCR_EL1`, `TTBR0_EL1`, `SCTLR_EL1`. riscv64:
    /// `satp`. Zeros on x86_64, where the MMU is on at the entry.
    pub mmu: [U64; 4],
    /// Address of the scratch area, which starts with a page with [`ScratchState`](crate::ScratchState); 0 if the guest copies no pages.
    pub scratch: U64,
    /// First page for copies.
    pub copies: U64,
    /// Number of pages for copies. [`ScratchState::RESERVE`](crate::ScratchState::RESERVE) more follow.
    pub copy_count: U64,
    /// Reserved, zero.
    pub reserved: [U64; 5],
}

impl BootInfo {
    /// Value of [`magic`](Self::magic): `VMSB`.
    pub const MAGIC: u32 = u32::from_le_bytes(*b"VMSB");
}

const _: () = {
    assert!(size_of::<BootInfo>() == 184);
    assert!(offset_of!(BootInfo, inbox) == 8 && offset_of!(BootInfo, outbox) == 16);
    assert!(offset_of!(BootInfo, window_len) == 24 && offset_of!(BootInfo, doorbell_kind) == 28);
    assert!(offset_of!(BootInfo, doorbell) == 32 && offset_of!(BootInfo, stack) == 40);
    assert!(offset_of!(BootInfo, stack_top) == 48 && offset_of!(BootInfo, fault_stack_top) == 56);
    assert!(offset_of!(BootInfo, heap) == 64 && offset_of!(BootInfo, heap_len) == 72);
    assert!(offset_of!(BootInfo, max_payload) == 80 && offset_of!(BootInfo, mmu) == 88);
    assert!(offset_of!(BootInfo, scratch) == 120 && offset_of!(BootInfo, copies) == 128);
    assert!(offset_of!(BootInfo, copy_count) == 136 && offset_of!(BootInfo, reserved) == 144);
};
