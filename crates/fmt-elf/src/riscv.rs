//! Machine-mode instructions in riscv code (RISC-V Instruction Set Manual, volume II).

/// `mret`.
const MRET: u32 = 0x3020_0073;

/// True if `code` has an instruction that only machine mode can execute: `mret`, or an access to a machine-mode register
/// that firmware sets. `code` begins with an instruction, and is decoded to its end.
pub(crate) fn uses_machine_mode(mut code: &[u8]) -> bool {
    while let Some((half, _)) = code.split_first_chunk::<2>() {
        // Instructions whose two lowest bits are not set have 16 bits (volume I, "Base Instruction-Length Encoding").
        let is_compressed = half[0] & 3 != 3;
        if !is_compressed {
            let Some((word, _)) = code.split_first_chunk::<4>() else {
                return false;
            };
            if is_machine_mode(u32::from_le_bytes(*word)) {
                return true;
            }
        }
        code = code.get(if is_compressed { 2 } else { 4 }..).unwrap_or_default();
    }
    false
}

fn is_machine_mode(instruction: u32) -> bool {
    const OPCODE_SYSTEM: u32 = 0x73;
    let funct3 = instruction >> 12 & 7;
    // CSRRW, CSRRS and CSRRC with a register or an immediate value.
    let accesses_csr = instruction & 0x7f == OPCODE_SYSTEM && !matches!(funct3, 0 | 4);
    let csr = instruction >> 20;
    instruction == MRET
        || accesses_csr
            && matches!(
                csr,
                // mstatus to mcounteren; mscratch to mip; pmpcfg0 to pmpaddr63; mvendorid to mhartid.
                0x300..=0x306 | 0x340..=0x344 | 0x3a0..=0x3ef | 0xf11..=0xf14
            )
}

#[cfg(test)]
mod tests {
    use super::uses_machine_mode;

    #[test]
    fn machine_mode_instructions_are_found_behind_others() {
        let check =
            |code: &[u8], expected: bool| assert_eq!(uses_machine_mode(code), expected, "{code:02x?}");
        let csr = |number: u32, funct3: u32| (number << 20 | funct3 << 12 | 5 << 7 | 0x73).to_le_bytes();
        check(&[], false);
        check(&[0x01], false);
        check(&csr(0xf14, 2), true);
        check(&csr(0xf14, 2)[..3], false);
        for (number, expected) in [
            (0x2ff, false),
            (0x300, true),
            (0x306, true),
            (0x307, false),
            (0x33f, false),
            (0x340, true),
            (0x344, true),
            (0x345, false),
            (0x39f, false),
            (0x3a0, true),
            (0x3ef, true),
            (0x3f0, false),
            (0xf10, false),
            (0xf11, true),
            (0xf15, false),
            // sstatus, stvec, satp and time.
            (0x100, false),
            (0x105, false),
            (0x180, false),
            (0xc01, false),
        ] {
            for funct3 in [1, 2, 3, 5, 6, 7] {
                check(&csr(number, funct3), expected);
            }
            // Not CSR instructions.
            check(&csr(number, 0), false);
            check(&csr(number, 4), false);
        }
        check(&0x3020_0073u32.to_le_bytes(), true);
        // `sret`, and another opcode.
        check(&0x1020_0073u32.to_le_bytes(), false);
        check(&0x3000_2013u32.to_le_bytes(), false);
        // After `c.nop` and `nop`; not at an offset inside an instruction.
        check(&[&[0x01, 0x00][..], &csr(0x300, 1)].concat(), true);
        check(&[&[0x13, 0, 0, 0][..], &csr(0x300, 1)].concat(), true);
        check(&[&[0x13, 0][..], &csr(0x300, 1), &[0x01, 0]].concat(), false);
    }
}
