//! The instructions.

use std::mem::offset_of;

use super::{
    assembler::{
        CLREX, DSB_ISH, ENABLE_SERRORS, ERET, HVC, IC_IALLU, ISB, MASK_SERRORS, TLBI_VMALLE1, UDF, add,
        add_immediate, adr, b, br, cbnz, ldp_q, ldp_x, ldr_x, mov, mov_upper, msr, strb_zero, tbz,
    },
    image::{DEBUG, Image, Optional, SYSTEM},
};
use crate::{Register, register};

/// Where the code starts: its offset in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry(pub u64);

impl Entry {
    /// Flushes cached translations, and continues at the saved address.
    pub const FLUSH: Self = Self(0);
    /// As [`FLUSH`](Self::FLUSH), but rings the doorbell before `ELR_EL1`, `SPSR_EL1`, `SCTLR_EL1` and `X0` to `X2` are loaded. `X1` is the
    /// function number or the address of the doorbell, `X2` is zero for a call.
    pub const FLUSH_AND_RING: Self = Self(4);
    /// As [`FLUSH`](Self::FLUSH) without the flush.
    pub const LOAD: Self = Self(32);
    /// As [`FLUSH_AND_RING`](Self::FLUSH_AND_RING) without the flush.
    pub const LOAD_AND_RING: Self = Self(36);
}

/// Index of the vector of an SError at EL1 with its own stack pointer, in the table at the start of the code.
const SERROR: usize = 0x380 / 4;
/// Index of the code that rings the doorbell.
const RING: usize = 4;
const WORDS: usize = 233;

/// Instructions, and their number so far.
struct Code {
    words: [u32; WORDS],
    len: usize,
}

impl Code {
    const fn push(&mut self, word: u32) {
        if self.len == SERROR - 1 {
            // Around the vector, which returns.
            self.words[self.len] = b(SERROR - 1, SERROR + 1);
            self.words[SERROR] = ERET;
            self.len += 2;
        }
        self.words[self.len] = word;
        self.len += 1;
    }

    /// Loads `DEBUG` pairs of registers at `offset` in the image, without the code of the length at `skip`.
    const fn debug(&mut self, offset: usize, skip: usize, value: u8, control: u8) {
        // ldr x3, [x0, #skip]; adr x4, 1f; add x4, x4, x3; add x5, x0, #offset; br x4; 1:
        self.push(ldr_x(3, 0, skip));
        self.push(adr(4, self.len, self.len + 4));
        self.push(add(4, 4, 3));
        self.push(add_immediate(5, 0, offset));
        self.push(br(4));
        let mut n = DEBUG;
        while n > 0 {
            n -= 1;
            // ldp x3, x4, [x5, #(16 * n)]; msr value, x3; msr control, x4
            #[expect(
                clippy::as_conversions,
                clippy::cast_possible_truncation,
                reason = "n is below 16"
            )]
            let number = n as u8;
            self.push(ldp_x(3, 4, 5, 16 * n));
            self.push(msr(register::encode(2, 0, 0, number, value), 3));
            self.push(msr(register::encode(2, 0, 0, number, control), 4));
        }
    }
}

const fn assemble() -> [u32; WORDS] {
    let mut code = Code {
        words: [UDF; WORDS],
        len: 0,
    };
    // Entry::FLUSH: no doorbell.
    code.push(mov(1, 31));
    // Entry::FLUSH_AND_RING. Broadcasts, because the host may move the vCPU.
    code.push(TLBI_VMALLE1);
    code.push(DSB_ISH);
    code.push(b(code.len, RING + 5));
    // The doorbell. The host does not return here.
    assert!(code.len == RING);
    code.push(cbnz(2, code.len, code.len + 3));
    code.push(mov(0, 1));
    code.push(HVC);
    code.push(strb_zero(1));
    // Entry::LOAD: no doorbell.
    code.push(mov(1, 31));
    // Entry::LOAD_AND_RING. The host may have changed code of the guest.
    code.push(IC_IALLU);
    code.push(DSB_ISH);
    code.push(CLREX);
    // A pending SError is taken here, so it does not reach the guest. Its vector returns.
    code.push(adr(3, code.len, 0));
    code.push(msr(Register::VBAR_EL1.number_in_group(), 3));
    code.push(ISB);
    code.push(ENABLE_SERRORS);
    code.push(ISB);
    code.push(MASK_SERRORS);
    // Floating point: CPACR_EL1.FPEN.
    code.push(mov_upper(3, 0x30));
    code.push(msr(Register::CPACR_EL1.number_in_group(), 3));
    code.push(ISB);
    // Vector registers.
    code.push(add_immediate(3, 0, offset_of!(Image, v)));
    let (mut register, mut offset) = (0, 0);
    while register < 32 {
        code.push(ldp_q(register, register + 1, 3, offset));
        register += 2;
        offset += 32;
    }
    code.push(ldp_x(3, 4, 0, offset_of!(Image, fpcr)));
    code.push(msr(register::encode(3, 3, 4, 4, 0), 3));
    code.push(msr(register::encode(3, 3, 4, 4, 1), 4));
    // Registers that only some CPUs have.
    code.push(ldr_x(3, 0, offset_of!(Image, present)));
    let mut n = 0;
    while n < Optional::ALL.len() {
        // tbz x3, #n, 1f; ldr x4, [x0, #offset]; msr register, x4; 1:
        code.push(tbz(3, n, code.len, code.len + 3));
        code.push(ldr_x(4, 0, offset_of!(Image, optional) + 8 * n));
        code.push(msr(Optional::ALL[n].register.number_in_group(), 4));
        n += 1;
    }
    // System registers.
    let mut n = 0;
    while n < SYSTEM.len() {
        code.push(ldp_x(3, 4, 0, offset_of!(Image, system) + 8 * n));
        code.push(msr(SYSTEM[n].encoding, 3));
        code.push(msr(SYSTEM[n + 1].encoding, 4));
        n += 2;
    }
    code.debug(
        offset_of!(Image, breakpoints),
        offset_of!(Image, breakpoint_skip),
        4,
        5,
    );
    code.debug(
        offset_of!(Image, watchpoints),
        offset_of!(Image, watchpoint_skip),
        6,
        7,
    );
    // The stack pointer, and X3 to X30.
    code.push(ldr_x(3, 0, offset_of!(Image, sp_el1)));
    code.push(add_immediate(31, 3, 0));
    let (mut register, mut offset) = (3, offset_of!(Image, x) + 24);
    while register < 31 {
        code.push(ldp_x(register, register + 1, 0, offset));
        register += 2;
        offset += 16;
    }
    // Code with branches inside is before the vector.
    assert!(code.len < SERROR - 1);
    code.push(cbnz(1, code.len, RING));
    // The target, the MMU, and the last registers.
    code.push(ldp_x(1, 2, 0, offset_of!(Image, pc)));
    code.push(msr(register::encode(3, 0, 4, 0, 1), 1));
    code.push(msr(register::encode(3, 0, 4, 0, 0), 2));
    code.push(ldr_x(2, 0, offset_of!(Image, sctlr)));
    code.push(msr(Register::SCTLR_EL1.number_in_group(), 2));
    code.push(ISB);
    code.push(ldp_x(1, 2, 0, offset_of!(Image, x) + 8));
    code.push(ldr_x(0, 0, offset_of!(Image, x)));
    code.push(ERET);
    assert!(code.len == WORDS);
    code.words
}

const fn bytes(words: &[u32; WORDS]) -> [u8; 4 * WORDS] {
    let mut bytes = [0; 4 * WORDS];
    let mut n = 0;
    while n < WORDS {
        let [b0, b1, b2, b3] = words[n].to_le_bytes();
        bytes[4 * n] = b0;
        bytes[4 * n + 1] = b1;
        bytes[4 * n + 2] = b2;
        bytes[4 * n + 3] = b3;
        n += 1;
    }
    bytes
}

/// The instructions. The code runs at any multiple of 2 KiB.
pub static CODE: [u8; 4 * WORDS] = bytes(&assemble());
