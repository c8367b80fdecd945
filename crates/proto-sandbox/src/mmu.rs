//! Registers with which the guest's entry code turns the MMU on.

use boot_paging::{MAIR_EL1, PageTables, Scheme};
use zerocopy::little_endian::U64;

/// `TCR_EL1` (Arm ARM, D24.2): addresses of 48 bits in pages of 4 KiB from `TTBR0_EL1`, physical addresses of up to 40 bits, tables in
/// write-back memory, inner shareable. `TTBR1_EL1` is not used.
const TCR_EL1: u64 = {
    const T0SZ: u64 = 16;
    const IRGN0_WRITE_BACK: u64 = 0b01 << 8;
    const ORGN0_WRITE_BACK: u64 = 0b01 << 10;
    const SH0_INNER: u64 = 0b11 << 12;
    const T1SZ: u64 = 16 << 16;
    const EPD1: u64 = 1 << 23;
    const TG1_4K: u64 = 0b10 << 30;
    // A CPU with less takes it as its own width.
    const IPS_40_BITS: u64 = 0b010 << 32;
    T0SZ | IRGN0_WRITE_BACK | ORGN0_WRITE_BACK | SH0_INNER | T1SZ | EPD1 | TG1_4K | IPS_40_BITS
};

/// `SCTLR_EL1` (Arm ARM, D24.2): MMU and caches on, alignment checks of the stack pointer, and writable memory is never executable.
const SCTLR_EL1: u64 = {
    const M: u64 = 1 << 0;
    const C: u64 = 1 << 2;
    const SA: u64 = 1 << 3;
    const EOS: u64 = 1 << 11;
    const I: u64 = 1 << 12;
    const WXN: u64 = 1 << 19;
    const TSCXT: u64 = 1 << 20;
    const EIS: u64 = 1 << 22;
    const SPAN: u64 = 1 << 23;
    const N_TLSMD: u64 = 1 << 28;
    const LSMAOE: u64 = 1 << 29;
    // Bits that are one on CPUs without the features that define them.
    const RES1: u64 = EOS | TSCXT | EIS | SPAN | N_TLSMD | LSMAOE;
    M | C | SA | I | WXN | RES1
};

/// [`BootInfo::mmu`](sandbox_abi::BootInfo::mmu) for these tables.
pub(crate) fn registers(tables: &PageTables) -> [U64; 4] {
    let root = tables.root_register();
    match tables.scheme() {
        Scheme::Arm64 => [MAIR_EL1, TCR_EL1, root, SCTLR_EL1],
        Scheme::Sv39 => [root, 0, 0, 0],
        // The MMU is on at the entry.
        _ => [0; 4],
    }
    .map(U64::new)
}
