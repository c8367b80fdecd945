//! The code that loads a register image.

use super::{
    encode::{
        A0, A1, ECALL, FENCE_I, NOP, SFENCE_VMA, T0, T1, T2, X, ZERO, add, addi, andi, beqz, csr, csrr, csrw,
        fld, jr, ld, slli, vl8re8, vsetvl,
    },
    image::{ImageParts, RawImage, offset},
};

/// Register that has the program counter at the end of the code: `a1`. Only a state with this value in it can be loaded.
pub const LINK: u16 = 11;

/// Number of instructions.
const LEN: usize = 130;

/// Offset of the entry point in [`CODE`]. The entry state:
///
/// - supervisor mode, `satp` is zero, interrupts are disabled (`sstatus.SIE` is zero);
/// - floating-point and vector registers are enabled (`sstatus.FS`, `sstatus.VS`);
/// - `a0` is the address of the image.
///
/// The instruction before it does nothing: KVM enters there or here, if it completes a call of the guest first.
pub const ENTRY: u64 = 4;

/// Offset of a second entry point in [`CODE`], which flushes the cached translations and instructions and makes an `ecall`. It needs the
/// same state, without an image in `a0`.
pub const FLUSH_ENTRY: u64 = 4 * (LEN as u64 - 3);

/// The instructions, position-independent.
pub static CODE: [u8; LEN * 4] = bytes(&assemble().0);

/// Instructions so far, and their number.
struct Writer([u32; LEN], usize);

impl Writer {
    const fn push(&mut self, word: u32) {
        self.0[self.1] = word;
        self.1 += 1;
    }

    /// `csrw csr, image[offset]`.
    const fn load_csr(&mut self, csr: u32, offset: usize) {
        self.push(ld(T1, offset, A0));
        self.push(csrw(csr, T1));
    }

    /// Skips the next `count` instructions unless the image has `part`. `t0` has the parts.
    const fn unless(&mut self, part: ImageParts, count: usize) {
        self.push(andi(T1, T0, part.0 as usize));
        self.push(beqz(T1, 4 * (count + 1)));
    }

    /// `x<number> = image.x<number>`.
    const fn load_x(&mut self, number: u32) {
        self.push(ld(X(number), offset!(pc) + 8 * number as usize, A0));
    }
}

const fn assemble() -> Writer {
    let mut code = Writer([0; LEN], 0);
    code.push(NOP);
    // Translations and instructions that the guest made the CPU cache.
    code.push(SFENCE_VMA);
    code.push(FENCE_I);
    code.push(ld(T0, offset!(parts), A0));
    code.load_csr(csr::SIE, offset!(sie));
    code.load_csr(csr::STVEC, offset!(stvec));
    code.load_csr(csr::SSCRATCH, offset!(sscratch));
    code.load_csr(csr::SEPC, offset!(sepc));
    code.load_csr(csr::SCAUSE, offset!(scause));
    code.load_csr(csr::STVAL, offset!(stval));
    code.load_csr(csr::SIP, offset!(sip));
    code.load_csr(csr::SCOUNTEREN, offset!(scounteren));
    code.load_csr(csr::SENVCFG, offset!(senvcfg));
    code.unless(ImageParts::TIMER, 2);
    code.load_csr(csr::STIMECMP, offset!(stimecmp));
    code.unless(ImageParts::STATE_ENABLES, 2);
    code.load_csr(csr::SSTATEEN0, offset!(sstateen0));
    code.unless(ImageParts::SELECT, 2);
    code.load_csr(csr::SISELECT, offset!(siselect));
    // Floating point. The register file comes last: some emulators do not note that a write of `fcsr` alone changes the state.
    code.unless(ImageParts::FLOAT, 34);
    code.load_csr(csr::FCSR, offset!(fcsr));
    let mut number = 0;
    while number < 32 {
        code.push(fld(number, offset!(f) + 8 * number as usize, A0));
        number += 1;
    }
    // Vectors. A start other than zero would skip bytes.
    code.unless(ImageParts::VECTOR, 18);
    code.load_csr(csr::VCSR, offset!(vcsr));
    code.push(csrw(csr::VSTART, ZERO));
    code.push(addi(T1, A0, size_of::<RawImage>()));
    code.push(csrr(T2, csr::VLENB));
    code.push(slli(T2, T2, 3));
    code.push(vl8re8(0, T1));
    code.push(add(T1, T1, T2));
    code.push(vl8re8(8, T1));
    code.push(add(T1, T1, T2));
    code.push(vl8re8(16, T1));
    code.push(add(T1, T1, T2));
    code.push(vl8re8(24, T1));
    code.push(ld(T1, offset!(vl), A0));
    code.push(ld(T2, offset!(vtype), A0));
    code.push(vsetvl(T1, T2));
    code.load_csr(csr::VSTART, offset!(vstart));
    // The state of floating point and vectors is that of the image from here on. Interrupts stay disabled.
    code.load_csr(csr::SSTATUS, offset!(sstatus));
    // This code and the image have the same addresses with the address translation of the image.
    code.load_csr(csr::SATP, offset!(satp));
    code.push(SFENCE_VMA);
    // Integer registers; the base last.
    let mut number = 1;
    while number < 32 {
        if number != A0.0 {
            code.load_x(number);
        }
        number += 1;
    }
    code.load_x(A0.0);
    code.push(jr(A1));
    // The second entry point.
    code.push(SFENCE_VMA);
    code.push(FENCE_I);
    code.push(ECALL);
    code
}

const _: () = assert!(assemble().1 == LEN);
const _: () = assert!(LINK as u32 == A1.0 && LEN * 4 <= 4096);

const fn bytes(words: &[u32; LEN]) -> [u8; LEN * 4] {
    let mut bytes = [0; LEN * 4];
    let mut index = 0;
    while index < LEN {
        let word = words[index].to_le_bytes();
        let mut byte = 0;
        while byte < 4 {
            bytes[index * 4 + byte] = word[byte];
            byte += 1;
        }
        index += 1;
    }
    bytes
}
