//! Instructions of A64 as words (Arm ARM, "A64 Base Instruction Descriptions"). Offsets are in bytes.

/// Widening; `From` is not const. Values are register numbers and offsets in a page.
#[expect(
    clippy::as_conversions,
    clippy::cast_possible_truncation,
    reason = "`TryFrom` is not const, and the assertion excludes a truncation"
)]
const fn word(value: usize) -> u32 {
    assert!(value < 0x1_0000, "an offset in the image or the code");
    value as u32
}

/// Distance between two instructions, given by their indexes, in bits `bits` of the result, as a multiple of four bytes.
const fn distance(from: usize, to: usize, bits: u32) -> u32 {
    word(to).wrapping_sub(word(from)) & ((1 << bits) - 1)
}

/// `LDP Xt, Xt2, [Xn, #offset]`.
pub(super) const fn ldp_x(t: u32, t2: u32, n: u32, offset: usize) -> u32 {
    assert!(offset.is_multiple_of(8) && offset <= 504);
    0xa940_0000 | word(offset / 8) << 15 | t2 << 10 | n << 5 | t
}

/// `LDP Qt, Qt2, [Xn, #offset]`.
pub(super) const fn ldp_q(t: u32, t2: u32, n: u32, offset: usize) -> u32 {
    assert!(offset.is_multiple_of(16) && offset <= 1008);
    0xad40_0000 | word(offset / 16) << 15 | t2 << 10 | n << 5 | t
}

/// `LDR Xt, [Xn, #offset]`.
pub(super) const fn ldr_x(t: u32, n: u32, offset: usize) -> u32 {
    assert!(offset.is_multiple_of(8));
    0xf940_0000 | word(offset / 8) << 10 | n << 5 | t
}

/// `ADD Xd, Xn, #immediate`. Number 31 is the stack pointer.
pub(super) const fn add_immediate(d: u32, n: u32, immediate: usize) -> u32 {
    assert!(immediate < 0x1000);
    0x9100_0000 | word(immediate) << 10 | n << 5 | d
}

/// `ADD Xd, Xn, Xm`.
pub(super) const fn add(d: u32, n: u32, m: u32) -> u32 {
    0x8b00_0000 | m << 16 | n << 5 | d
}

/// `MOV Xd, Xm`. Number 31 is zero.
pub(super) const fn mov(d: u32, m: u32) -> u32 {
    0xaa00_03e0 | m << 16 | d
}

/// `MOV Xd, #(immediate << 16)`.
pub(super) const fn mov_upper(d: u32, immediate: u32) -> u32 {
    0xd2a0_0000 | immediate << 5 | d
}

/// `MSR encoding, Xt`.
pub(super) const fn msr(encoding: u16, t: u32) -> u32 {
    #[expect(clippy::as_conversions, reason = "widening, and From is not const")]
    let encoding = encoding as u32;
    0xd500_0000 | encoding << 5 | t
}

/// `ADR Xd, label`, from the instruction `from` to the instruction `to`.
pub(super) const fn adr(d: u32, from: usize, to: usize) -> u32 {
    0x1000_0000 | distance(from, to, 19) << 5 | d
}

/// `B label`.
pub(super) const fn b(from: usize, to: usize) -> u32 {
    0x1400_0000 | distance(from, to, 26)
}

/// `CBNZ Xt, label`.
pub(super) const fn cbnz(t: u32, from: usize, to: usize) -> u32 {
    0xb500_0000 | distance(from, to, 19) << 5 | t
}

/// `TBZ Xt, #bit, label`.
pub(super) const fn tbz(t: u32, bit: usize, from: usize, to: usize) -> u32 {
    assert!(bit < 32);
    0x3600_0000 | word(bit) << 19 | distance(from, to, 14) << 5 | t
}

/// `BR Xn`.
pub(super) const fn br(n: u32) -> u32 {
    0xd61f_0000 | n << 5
}

/// `STRB WZR, [Xn]`.
pub(super) const fn strb_zero(n: u32) -> u32 {
    0x3900_001f | n << 5
}

/// `TLBI VMALLE1`.
pub(super) const TLBI_VMALLE1: u32 = 0xd508_871f;
/// `IC IALLU`.
pub(super) const IC_IALLU: u32 = 0xd508_751f;
/// `DSB ISH`.
pub(super) const DSB_ISH: u32 = 0xd503_3b9f;
/// `ISB`.
pub(super) const ISB: u32 = 0xd503_3fdf;
/// `CLREX`.
pub(super) const CLREX: u32 = 0xd503_3f5f;
/// `MSR DAIFCLR, #4`: enables SErrors.
pub(super) const ENABLE_SERRORS: u32 = 0xd503_44ff;
/// `MSR DAIFSET, #4`: masks SErrors.
pub(super) const MASK_SERRORS: u32 = 0xd503_44df;
/// `ERET`.
pub(super) const ERET: u32 = 0xd69f_03e0;
/// `HVC #0`.
pub(super) const HVC: u32 = 0xd400_0002;
/// `UDF #0`.
pub(super) const UDF: u32 = 0;
