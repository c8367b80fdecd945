//! Successors of riscv64 instructions, for harts that cannot step.

use hv_core::RiscvRegisters;

/// Largest number of instructions after `LR` up to and with `SC`: that of a constrained LR/SC loop (RISC-V Unprivileged ISA, "Eventual Success
/// of Store-Conditional Instructions").
const MAX_SEQUENCE: usize = 16;

/// An instruction, decoded as far as the flow of control needs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Instruction {
    /// Length in bytes.
    len: u64,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// The next instruction follows.
    Plain,
    /// `LR`.
    LoadReserved,
    /// `SC`.
    StoreConditional,
    /// A branch, with its distance, to which the next instruction is the alternative.
    Branch(i64),
    /// A jump, with its distance.
    Jump(i64),
    /// A jump to a register and a distance.
    Indirect(usize, i64),
    /// `ECALL`, `EBREAK`, `SRET`, `WFI` and accesses to control and status registers.
    System,
}

/// The addresses at which the hart can be after the instruction at its program counter: one for most, two for a branch, and after `LR` those
/// outside of its sequence with `SC`, which no debugger may interrupt. An exception leads elsewhere, and so does `SRET`.
///
/// `fetch` reads 16 bits of code. `None` if the instruction cannot be read, or is longer than 4 bytes.
pub(crate) fn successors(registers: &RiscvRegisters, fetch: impl Fn(u64) -> Option<u16>) -> Option<Vec<u64>> {
    let pc = registers.pc;
    let instruction = read(pc, &fetch)?;
    let next = pc.wrapping_add(instruction.len);
    Some(match instruction.kind {
        Kind::Plain | Kind::System | Kind::StoreConditional => vec![next],
        Kind::LoadReserved => sequence(next, &fetch).unwrap_or_else(|| vec![next]),
        Kind::Branch(distance) => vec![next, pc.wrapping_add_signed(distance)],
        Kind::Jump(distance) => vec![pc.wrapping_add_signed(distance)],
        Kind::Indirect(register, distance) => {
            let base = registers.x.get(register).copied().unwrap_or_default();
            vec![base.wrapping_add_signed(distance) & !1]
        }
    })
}

/// The ways out of an LR/SC sequence whose second instruction is at `start`; `None` if it is not one.
fn sequence(start: u64, fetch: &impl Fn(u64) -> Option<u16>) -> Option<Vec<u64>> {
    let mut exits = Vec::new();
    let mut pc = start;
    for _ in 0..MAX_SEQUENCE {
        let Instruction { len, kind } = read(pc, fetch)?;
        let next = pc.wrapping_add(len);
        match kind {
            Kind::Plain => {}
            Kind::Branch(distance) => exits.push(pc.wrapping_add_signed(distance)),
            Kind::StoreConditional => {
                // Branches to places within the sequence do not leave it.
                exits.retain(|exit| !(start..next).contains(exit));
                exits.insert(0, next);
                return Some(exits);
            }
            Kind::LoadReserved | Kind::Jump(_) | Kind::Indirect(..) | Kind::System => return None,
        }
        pc = next;
    }
    None
}

fn read(pc: u64, fetch: &impl Fn(u64) -> Option<u16>) -> Option<Instruction> {
    let low = fetch(pc)?;
    if low & 3 != 3 {
        let kind = compressed(low);
        return Some(Instruction { len: 2, kind });
    }
    if low & 0x1c == 0x1c {
        return None;
    }
    let high = fetch(pc.wrapping_add(2))?;
    let kind = full(u32::from(high) << 16 | u32::from(low));
    Some(Instruction { len: 4, kind })
}

/// Bits `from` and up of a code, `count` many, moved to bit `to`.
const fn bits(code: u32, from: u32, count: u32, to: u32) -> u32 {
    (code >> from & ((1 << count) - 1)) << to
}

/// The signed value of the low `width` bits.
fn signed(value: u32, width: u32) -> i64 {
    let shift = u32::BITS.saturating_sub(width);
    i64::from((value << shift).cast_signed() >> shift)
}

/// A register number.
fn register(code: u32, from: u32) -> usize {
    usize::try_from(bits(code, from, 5, 0)).unwrap_or_default()
}

/// Decodes 32 bits (RISC-V Unprivileged ISA, "RV32/64G Instruction Set Listings").
fn full(code: u32) -> Kind {
    const LR: u32 = 0b00010;
    const SC: u32 = 0b00011;
    match code & 0x7f {
        0x63 => {
            let distance =
                bits(code, 31, 1, 12) | bits(code, 7, 1, 11) | bits(code, 25, 6, 5) | bits(code, 8, 4, 1);
            Kind::Branch(signed(distance, 13))
        }
        0x6f => {
            let distance =
                bits(code, 31, 1, 20) | bits(code, 12, 8, 12) | bits(code, 20, 1, 11) | bits(code, 21, 10, 1);
            Kind::Jump(signed(distance, 21))
        }
        0x67 => Kind::Indirect(register(code, 15), signed(code >> 20, 12)),
        0x73 => Kind::System,
        0x2f => match code >> 27 {
            LR => Kind::LoadReserved,
            SC => Kind::StoreConditional,
            _ => Kind::Plain,
        },
        _ => Kind::Plain,
    }
}

/// Decodes 16 bits (RISC-V Unprivileged ISA, "RVC Instruction Set Listings").
fn compressed(code: u16) -> Kind {
    let code = u32::from(code);
    match (code & 3, code >> 13) {
        // C.J
        (1, 5) => {
            let distance = bits(code, 12, 1, 11)
                | bits(code, 11, 1, 4)
                | bits(code, 9, 2, 8)
                | bits(code, 8, 1, 10)
                | bits(code, 7, 1, 6)
                | bits(code, 6, 1, 7)
                | bits(code, 3, 3, 1)
                | bits(code, 2, 1, 5);
            Kind::Jump(signed(distance, 12))
        }
        // C.BEQZ, C.BNEZ
        (1, 6 | 7) => {
            let distance = bits(code, 12, 1, 8)
                | bits(code, 10, 2, 3)
                | bits(code, 5, 2, 6)
                | bits(code, 3, 2, 1)
                | bits(code, 2, 1, 5);
            Kind::Branch(signed(distance, 9))
        }
        // C.JR, C.JALR; C.EBREAK has register 0.
        (2, 4) if bits(code, 2, 5, 0) == 0 => match register(code, 7) {
            0 => Kind::System,
            register => Kind::Indirect(register, 0),
        },
        _ => Kind::Plain,
    }
}

#[cfg(test)]
mod tests {
    use boot_core::cpu::riscv64::State;

    use super::*;

    /// The successors of the first of these codes at 0x1_0000, with `a1` = 0x2003 and `a2` = 0x3000. Codes above 16 bits take 4 bytes.
    fn check(codes: &[u32], expected: Option<&[u64]>) {
        let mut registers = RiscvRegisters::new(&State::new(0x1_0000));
        registers.x[11] = 0x2003;
        registers.x[12] = 0x3000;
        let mut halves = Vec::new();
        for &code in codes {
            halves.push(u16::try_from(code & 0xffff).unwrap());
            if code & 3 == 3 {
                halves.push(u16::try_from(code >> 16).unwrap());
            }
        }
        let fetch = |address: u64| {
            assert_eq!(address % 2, 0);
            let at = usize::try_from(address.checked_sub(0x1_0000)? / 2).ok()?;
            halves.get(at).copied()
        };
        assert_eq!(successors(&registers, fetch).as_deref(), expected, "{codes:x?}");
    }

    /// The codes are those of an assembler.
    #[test]
    fn jumps_and_branches_are_followed() {
        let at = |distance: i64| 0x1_0000_u64.wrapping_add_signed(distance);
        for (code, expected) in [
            // nop; addi a0, a0, 1; ecall; mv a1, a2; ebreak
            (0x0001, vec![at(2)]),
            (0x0015_0513, vec![at(4)]),
            (0x0000_0073, vec![at(4)]),
            (0x85b2, vec![at(2)]),
            (0x9002, vec![at(2)]),
            // jal ra, 0x1234; j -0xffffe; jalr ra, -4(a1)
            (0x2340_10ef, vec![at(0x1234)]),
            (0x8020_006f, vec![at(-0xf_fffe)]),
            (0xffc5_80e7, vec![0x1ffe]),
            // beq a0, a1, 0xaaa; bne a0, a1, -0x1000
            (0x2ab5_05e3, vec![at(4), at(0xaaa)]),
            (0x80b5_1063, vec![at(4), at(-0x1000)]),
            // c.j 0x5a2; c.j -0x800; c.beqz a0, 0x9e; c.bnez a1, -0x100; c.jr a1; c.jalr a2
            (0xa34d, vec![at(0x5a2)]),
            (0xb001, vec![at(-0x800)]),
            (0xcd59, vec![at(2), at(0x9e)]),
            (0xf181, vec![at(2), at(-0x100)]),
            (0x8582, vec![0x2002]),
            (0x9602, vec![0x3000]),
            // sc.d a2, a1, (a0); amoadd.w a2, a1, (a0)
            (0x18b5_362f, vec![at(4)]),
            (0x00b5_262f, vec![at(4)]),
        ] {
            check(&[code], Some(&expected));
        }
    }

    #[test]
    fn instructions_that_cannot_be_read_have_no_successors() {
        check(&[], None);
        // The second half is missing, or the instruction has 48 bits.
        let mut registers = RiscvRegisters::new(&State::new(0));
        assert_eq!(successors(&registers, |at| (at == 0).then_some(0x13)), None);
        assert_eq!(successors(&registers, |_| Some(0x1f)), None);
        registers.pc = u64::MAX - 1;
        assert_eq!(successors(&registers, |_| Some(1)), Some(vec![0]));
    }

    #[test]
    fn reserved_sequences_are_stepped_over() {
        let (load, store) = (0x1405_35af, 0x18b5_362f);
        // lr; addi; sc; bnez (not part of it)
        check(&[load, 0x0015_0513, store, 0xf181], Some(&[0x1_000c]));
        // lr; bne a0, a1, -0x1000; sc: the branch leaves it.
        check(&[load, 0x80b5_1063, store], Some(&[0x1_000c, 0xf004]));
        // lr; beqz a0, +6 (within); nop; nop; sc
        check(&[load, 0xc119, 1, 1, store], Some(&[0x1_000e]));
        // A jump, a system instruction, a second LR, too many instructions, or an end of memory: it is stepped as any other.
        for between in [vec![0xb001], vec![0x73], vec![load], vec![1; 16]] {
            let mut codes = vec![load];
            codes.extend(between);
            codes.push(store);
            check(&codes, Some(&[0x1_0004]));
        }
        check(&[load, 1], Some(&[0x1_0004]));
        let mut codes = vec![load];
        codes.extend([1; 15]);
        codes.push(store);
        check(&codes, Some(&[0x1_0026]));
    }
}
