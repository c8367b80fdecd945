//! Encoder of the instructions of the rewind code (RISC-V Instruction Set Manual Volume I, "RV64I", "Zicsr", "D" and "V"; Volume II for
//! `sfence.vma`).

/// Number of an integer register.
#[derive(Clone, Copy)]
pub(super) struct X(pub(super) u32);

pub(super) const ZERO: X = X(0);
pub(super) const T0: X = X(5);
pub(super) const T1: X = X(6);
pub(super) const T2: X = X(7);
pub(super) const A0: X = X(10);
pub(super) const A1: X = X(11);

/// Numbers of CSRs.
pub(super) mod csr {
    pub(in super::super) const FCSR: u32 = 0x003;
    pub(in super::super) const VSTART: u32 = 0x008;
    pub(in super::super) const VCSR: u32 = 0x00f;
    pub(in super::super) const SSTATUS: u32 = 0x100;
    pub(in super::super) const SIE: u32 = 0x104;
    pub(in super::super) const STVEC: u32 = 0x105;
    pub(in super::super) const SCOUNTEREN: u32 = 0x106;
    pub(in super::super) const SENVCFG: u32 = 0x10a;
    pub(in super::super) const SSTATEEN0: u32 = 0x10c;
    pub(in super::super) const SSCRATCH: u32 = 0x140;
    pub(in super::super) const SEPC: u32 = 0x141;
    pub(in super::super) const SCAUSE: u32 = 0x142;
    pub(in super::super) const STVAL: u32 = 0x143;
    pub(in super::super) const SIP: u32 = 0x144;
    pub(in super::super) const STIMECMP: u32 = 0x14d;
    pub(in super::super) const SISELECT: u32 = 0x150;
    pub(in super::super) const SATP: u32 = 0x180;
    pub(in super::super) const VLENB: u32 = 0xc22;
}

/// `sfence.vma`: all addresses, all address spaces.
pub(super) const SFENCE_VMA: u32 = 0x1200_0073;
/// `fence.i`.
pub(super) const FENCE_I: u32 = 0x0000_100f;
/// `ecall`.
pub(super) const ECALL: u32 = 0x0000_0073;
/// `nop`.
pub(super) const NOP: u32 = 0x0000_0013;

const fn i_type(immediate: u32, rs1: X, funct3: u32, rd: u32, opcode: u32) -> u32 {
    assert!(immediate < 0x1000, "the immediate has 12 bits");
    immediate << 20 | rs1.0 << 15 | funct3 << 12 | rd << 7 | opcode
}

/// An offset that the sign extension of a 12-bit immediate does not change.
const fn positive(offset: usize) -> u32 {
    assert!(offset < 0x800, "the offset is in reach");
    #[expect(
        clippy::as_conversions,
        clippy::cast_possible_truncation,
        reason = "checked above; `TryFrom` is not const"
    )]
    let offset = offset as u32;
    offset
}

/// `ld rd, offset(base)`.
pub(super) const fn ld(rd: X, offset: usize, base: X) -> u32 {
    i_type(positive(offset), base, 3, rd.0, 0x03)
}

/// `fld f<rd>, offset(base)`.
pub(super) const fn fld(rd: u32, offset: usize, base: X) -> u32 {
    i_type(positive(offset), base, 3, rd, 0x07)
}

/// `addi rd, rs1, immediate`.
pub(super) const fn addi(rd: X, rs1: X, immediate: usize) -> u32 {
    i_type(positive(immediate), rs1, 0, rd.0, 0x13)
}

/// `andi rd, rs1, immediate`.
pub(super) const fn andi(rd: X, rs1: X, immediate: usize) -> u32 {
    i_type(positive(immediate), rs1, 7, rd.0, 0x13)
}

/// `slli rd, rs1, amount`.
pub(super) const fn slli(rd: X, rs1: X, amount: u32) -> u32 {
    assert!(amount < 64, "the registers have 64 bits");
    i_type(amount, rs1, 1, rd.0, 0x13)
}

/// `add rd, rs1, rs2`.
pub(super) const fn add(rd: X, rs1: X, rs2: X) -> u32 {
    rs2.0 << 20 | rs1.0 << 15 | rd.0 << 7 | 0x33
}

/// `beqz rs1, offset`: a branch forward.
pub(super) const fn beqz(rs1: X, offset: usize) -> u32 {
    assert!(offset.is_multiple_of(4), "code consists of words");
    let offset = positive(offset);
    (offset >> 5 & 0x3f) << 25 | rs1.0 << 15 | (offset >> 1 & 0xf) << 8 | (offset >> 11 & 1) << 7 | 0x63
}

/// `jr base`.
pub(super) const fn jr(base: X) -> u32 {
    i_type(0, base, 0, 0, 0x67)
}

/// `csrw csr, rs1`.
pub(super) const fn csrw(csr: u32, rs1: X) -> u32 {
    i_type(csr, rs1, 1, 0, 0x73)
}

/// `csrr rd, csr`.
pub(super) const fn csrr(rd: X, csr: u32) -> u32 {
    i_type(csr, ZERO, 2, rd.0, 0x73)
}

/// `vl8re8.v v<vd>, (base)`: eight whole registers, whatever `vl` and `vtype` are.
pub(super) const fn vl8re8(vd: u32, base: X) -> u32 {
    7 << 29 | 1 << 25 | 8 << 20 | base.0 << 15 | vd << 7 | 0x07
}

/// `vsetvl zero, vl, vtype`.
pub(super) const fn vsetvl(vl: X, vtype: X) -> u32 {
    0x40 << 25 | vtype.0 << 20 | vl.0 << 15 | 7 << 12 | 0x57
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Words of an assembler.
    #[test]
    fn encodings() {
        for (found, expected) in [
            (ld(A1, 0x58, A0), 0x0585_3583),
            (ld(T0, 0x7f8, A0), 0x7f85_3283),
            (fld(31, 0x100, A0), 0x1005_3f87),
            (addi(T1, A0, 0x300), 0x3005_0313),
            (andi(T1, T0, 16), 0x0102_f313),
            (slli(T2, T2, 3), 0x0033_9393),
            (slli(T2, T2, 63), 0x03f3_9393),
            (add(T1, T1, T2), 0x0073_0333),
            (beqz(T1, 12), 0x0003_0663),
            (beqz(T1, 0x7fc), 0x7e03_0e63),
            (jr(A1), 0x0005_8067),
            (csrw(csr::SATP, T1), 0x1803_1073),
            (csrr(T2, csr::VLENB), 0xc220_23f3),
            (vl8re8(24, T1), 0xe283_0c07),
            (vsetvl(T1, T2), 0x8073_7057),
        ] {
            assert_eq!(found, expected, "{found:#010x} in place of {expected:#010x}");
        }
    }
}
