//! Encoder of RV64 instructions (RISC-V Instruction Set Manual Volume I, "RV32I", "RV64I" and "Zicsr").

/// Integer registers by their number.
pub(crate) const ZERO: u32 = 0;
pub(crate) const T0: u32 = 5;
pub(crate) const T1: u32 = 6;
pub(crate) const T2: u32 = 7;
pub(crate) const S0: u32 = 8;
pub(crate) const S1: u32 = 9;
pub(crate) const A0: u32 = 10;
pub(crate) const A1: u32 = 11;
pub(crate) const A2: u32 = 12;
pub(crate) const A6: u32 = 16;
pub(crate) const A7: u32 = 17;

/// CSR numbers.
pub(crate) mod csr {
    pub(crate) const FCSR: u32 = 0x003;
    pub(crate) const VSTART: u32 = 0x008;
    pub(crate) const VCSR: u32 = 0x00f;
    pub(crate) const SEED: u32 = 0x015;
    pub(crate) const SENVCFG: u32 = 0x10a;
    pub(crate) const SSTATEEN0: u32 = 0x10c;
    pub(crate) const SIP: u32 = 0x144;
    pub(crate) const SATP: u32 = 0x180;
    pub(crate) const TIME: u32 = 0xc01;
    pub(crate) const SSTATUS: u32 = 0x100;
    pub(crate) const SIE: u32 = 0x104;
    pub(crate) const STVEC: u32 = 0x105;
    pub(crate) const SCOUNTEREN: u32 = 0x106;
    pub(crate) const SSCRATCH: u32 = 0x140;
    pub(crate) const SEPC: u32 = 0x141;
    pub(crate) const SCAUSE: u32 = 0x142;
    pub(crate) const STVAL: u32 = 0x143;
    pub(crate) const SISELECT: u32 = 0x150;
    pub(crate) const SIREG: u32 = 0x151;
    pub(crate) const STOPEI: u32 = 0x15c;
    pub(crate) const STIMECMP: u32 = 0x14d;
}

/// The widths of loads and stores, in `funct3`.
#[derive(Clone, Copy)]
pub(crate) enum Width {
    Byte,
    Half,
    Word,
    Double,
}

impl Width {
    const fn bits(self) -> u32 {
        match self {
            Self::Byte => 0,
            Self::Half => 1,
            Self::Word => 2,
            Self::Double => 3,
        }
    }
}

const fn i_type(immediate: i32, rs1: u32, funct3: u32, rd: u32, opcode: u32) -> u32 {
    immediate.cast_unsigned() << 20 | rs1 << 15 | funct3 << 12 | rd << 7 | opcode
}

/// `rd = rs1 + immediate`, sign-extended from 12 bits.
pub(crate) const fn addi(rd: u32, rs1: u32, immediate: i32) -> u32 {
    i_type(immediate, rs1, 0, rd, 0x13)
}

/// `rd = rs1 << amount`.
pub(crate) const fn slli(rd: u32, rs1: u32, amount: u32) -> u32 {
    i_type(amount.cast_signed(), rs1, 1, rd, 0x13)
}

/// `rd = rs1 >> amount`, unsigned.
pub(crate) const fn srli(rd: u32, rs1: u32, amount: u32) -> u32 {
    i_type(amount.cast_signed(), rs1, 5, rd, 0x13)
}

/// `rd = rs1 + rs2`.
pub(crate) const fn add(rd: u32, rs1: u32, rs2: u32) -> u32 {
    rs2 << 20 | rs1 << 15 | rd << 7 | 0x33
}

/// `rd = rs1 | rs2`.
pub(crate) const fn or(rd: u32, rs1: u32, rs2: u32) -> u32 {
    rs2 << 20 | rs1 << 15 | 6 << 12 | rd << 7 | 0x33
}

/// `rd = *(base + offset)`, zero-extended.
pub(crate) const fn load(width: Width, rd: u32, base: u32, offset: i32) -> u32 {
    let funct3 = match width {
        Width::Double => 3,
        narrower => narrower.bits() | 4,
    };
    i_type(offset, base, funct3, rd, 0x03)
}

/// `*(base + offset) = source`.
pub(crate) const fn store(width: Width, source: u32, base: u32, offset: i32) -> u32 {
    let offset = offset.cast_unsigned();
    (offset >> 5 & 0x7f) << 25 | source << 20 | base << 15 | width.bits() << 12 | (offset & 0x1f) << 7 | 0x23
}

/// Jumps by `offset` bytes.
pub(crate) const fn jump(offset: i32) -> u32 {
    let offset = offset.cast_unsigned();
    (offset >> 20 & 1) << 31
        | (offset >> 1 & 0x3ff) << 21
        | (offset >> 11 & 1) << 20
        | (offset >> 12 & 0xff) << 12
        | 0x6f
}

/// Jumps to the address in `base`.
pub(crate) const fn jump_to(base: u32) -> u32 {
    i_type(0, base, 0, ZERO, 0x67)
}

/// Branches by `offset` bytes if the registers differ.
pub(crate) const fn branch_unequal(rs1: u32, rs2: u32, offset: i32) -> u32 {
    let offset = offset.cast_unsigned();
    (offset >> 12 & 1) << 31
        | (offset >> 5 & 0x3f) << 25
        | rs2 << 20
        | rs1 << 15
        | 1 << 12
        | (offset >> 1 & 0xf) << 8
        | (offset >> 11 & 1) << 7
        | 0x63
}

/// `rd = csr; csr = rs1`.
pub(crate) const fn csr_write(rd: u32, csr: u32, rs1: u32) -> u32 {
    csr << 20 | rs1 << 15 | 1 << 12 | rd << 7 | 0x73
}

/// `rd = csr; csr |= rs1`.
pub(crate) const fn csr_set(rd: u32, csr: u32, rs1: u32) -> u32 {
    csr << 20 | rs1 << 15 | 2 << 12 | rd << 7 | 0x73
}

/// `fd[rd] = rs1`: a move into a double-precision register.
pub(crate) const fn move_to_double(rd: u32, rs1: u32) -> u32 {
    0x79 << 25 | rs1 << 15 | rd << 7 | 0x53
}

/// `fd[rd] = fd[rs1] * fd[rs2]` in double precision, rounded to nearest.
pub(crate) const fn multiply_double(rd: u32, rs1: u32, rs2: u32) -> u32 {
    0x09 << 25 | rs2 << 20 | rs1 << 15 | rd << 7 | 0x53
}

/// `rd = csr`.
pub(crate) const fn csr_read(rd: u32, csr: u32) -> u32 {
    csr_set(rd, csr, ZERO)
}

/// Branches by `offset` bytes if the registers are equal.
pub(crate) const fn branch_equal(rs1: u32, rs2: u32, offset: i32) -> u32 {
    branch_unequal(rs1, rs2, offset) & !(1 << 12)
}

/// `fd[rd] = *(base + offset)`: a load of a double-precision register.
pub(crate) const fn load_double(rd: u32, base: u32, offset: i32) -> u32 {
    i_type(offset, base, 3, rd, 0x07)
}

/// `v[vd]` to `v[vd + 7]` = the bytes at `base`.
pub(crate) const fn load_vectors(vd: u32, base: u32) -> u32 {
    0xe280_0007 | base << 15 | vd << 7
}

/// `rd = vl = min(rs1, largest)`, with `vtype` = `kind`.
pub(crate) const fn vsetvli(rd: u32, rs1: u32, kind: u32) -> u32 {
    kind << 20 | rs1 << 15 | 7 << 12 | rd << 7 | 0x57
}

pub(crate) const EBREAK: u32 = 0x0010_0073;
pub(crate) const SFENCE_VMA: u32 = 0x1200_0073;
pub(crate) const SRET: u32 = 0x1020_0073;
pub(crate) const ECALL: u32 = 0x73;
pub(crate) const WFI: u32 = 0x1050_0073;

/// Builder of guest code.
#[derive(Clone, Default)]
pub(crate) struct Code(Vec<u32>);

impl Code {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Appends instructions.
    pub(crate) fn then(mut self, instructions: impl IntoIterator<Item = u32>) -> Self {
        self.0.extend(instructions);
        self
    }

    /// `rd = value`, built from pieces of 11 bits, which `addi` does not sign-extend.
    pub(crate) fn set(self, rd: u32, value: u64) -> Self {
        let piece = |shift: u32| i32::try_from(value >> shift & 0x7ff).expect("eleven bits");
        let mut code = self.then([addi(rd, ZERO, piece(55))]);
        for shift in [44, 33, 22, 11, 0] {
            code = code.then([slli(rd, rd, 11), addi(rd, rd, piece(shift))]);
        }
        code
    }

    /// `csr = value`. Changes `t0`.
    pub(crate) fn set_csr(self, csr: u32, value: u64) -> Self {
        self.set(T0, value).then([csr_write(ZERO, csr, T0)])
    }

    /// Stores `value` at `address`. Changes `t0` and `t1`.
    pub(crate) fn store_value(self, width: Width, address: u64, value: u64) -> Self {
        self.set(T0, address)
            .set(T1, value)
            .then([store(width, T1, T0, 0)])
    }

    /// Calls an SBI function. The arguments are in `a0` to `a5`.
    pub(crate) fn call(self, extension: u64, function: u64) -> Self {
        self.set(A7, extension).set(A6, function).then([ECALL])
    }

    /// Ends the run with the low 32 bits of `register`. Changes `t0`.
    pub(crate) fn exit(self, register: u32) -> Self {
        self.set(T0, hv_kvm_riscv::BoardDevices::EXIT_PAGE)
            .then([store(Width::Word, register, T0, 0), jump(0)])
    }

    /// The instructions.
    pub(crate) fn words(&self) -> impl Iterator<Item = u32> + '_ {
        self.0.iter().copied()
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.0.iter().flat_map(|word| word.to_le_bytes()).collect()
    }
}
