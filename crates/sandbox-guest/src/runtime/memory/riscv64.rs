//! riscv64: 8 bytes at a time, always at addresses that are multiples of 8, since other accesses can be traps.
#![expect(unsafe_code, reason = "assembly")]

use core::arch::naked_asm;

/// Copies `len` bytes; the ranges may overlap.
#[unsafe(naked)]
#[unsafe(no_mangle)]
unsafe extern "C" fn memmove(to: *mut u8, from: *const u8, len: usize) -> *mut u8 {
    naked_asm!(
        "sub t0, a0, a1",
        "bgeu t0, a2, {forward}",
        // The target starts inside the source: backward.
        "add a3, a0, a2",
        "add a1, a1, a2",
        "andi t0, t0, 7",
        "bnez t0, 5f",
        // Both have the same offset in a word: bytes to a word, words, bytes.
        "2:",
        "beq a3, a0, 9f",
        "andi t1, a3, 7",
        "beqz t1, 3f",
        "addi a3, a3, -1",
        "addi a1, a1, -1",
        "lbu t2, 0(a1)",
        "sb t2, 0(a3)",
        "j 2b",
        "3:",
        "addi t3, a0, 8",
        "4:",
        "bltu a3, t3, 5f",
        "addi a3, a3, -8",
        "addi a1, a1, -8",
        "ld t2, 0(a1)",
        "sd t2, 0(a3)",
        "j 4b",
        "5:",
        "beq a3, a0, 9f",
        "addi a3, a3, -1",
        "addi a1, a1, -1",
        "lbu t2, 0(a1)",
        "sb t2, 0(a3)",
        "j 5b",
        "9:",
        "ret",
        forward = sym memcpy,
    )
}

/// Copies `len` bytes upwards.
#[unsafe(naked)]
#[unsafe(no_mangle)]
unsafe extern "C" fn memcpy(to: *mut u8, from: *const u8, len: usize) -> *mut u8 {
    naked_asm!(
        "mv a3, a0",
        "add a4, a0, a2",
        "li t0, 16",
        "bltu a2, t0, 8f",
        // Bytes until the target is at a word.
        "2:",
        "andi t0, a3, 7",
        "beqz t0, 3f",
        "lbu t1, 0(a1)",
        "sb t1, 0(a3)",
        "addi a1, a1, 1",
        "addi a3, a3, 1",
        "j 2b",
        "3:",
        "andi t0, a1, 7",
        "bnez t0, 6f",
        // The source is at a word as well: 128 bytes at a time, then 32, then 8.
        "addi t5, a4, -127",
        "bgeu a3, t5, 4f",
        "35:",
        "ld t0, 0(a1)",
        "ld t1, 8(a1)",
        "ld t2, 16(a1)",
        "ld t3, 24(a1)",
        "ld t4, 32(a1)",
        "ld t6, 40(a1)",
        "ld a5, 48(a1)",
        "ld a6, 56(a1)",
        "sd t0, 0(a3)",
        "sd t1, 8(a3)",
        "sd t2, 16(a3)",
        "sd t3, 24(a3)",
        "sd t4, 32(a3)",
        "sd t6, 40(a3)",
        "sd a5, 48(a3)",
        "sd a6, 56(a3)",
        "ld t0, 64(a1)",
        "ld t1, 72(a1)",
        "ld t2, 80(a1)",
        "ld t3, 88(a1)",
        "ld t4, 96(a1)",
        "ld t6, 104(a1)",
        "ld a5, 112(a1)",
        "ld a6, 120(a1)",
        "sd t0, 64(a3)",
        "sd t1, 72(a3)",
        "sd t2, 80(a3)",
        "sd t3, 88(a3)",
        "sd t4, 96(a3)",
        "sd t6, 104(a3)",
        "sd a5, 112(a3)",
        "sd a6, 120(a3)",
        "addi a1, a1, 128",
        "addi a3, a3, 128",
        "bltu a3, t5, 35b",
        "4:",
        "addi t5, a4, -31",
        "bgeu a3, t5, 5f",
        "45:",
        "ld t1, 0(a1)",
        "ld t2, 8(a1)",
        "ld t3, 16(a1)",
        "ld t4, 24(a1)",
        "sd t1, 0(a3)",
        "sd t2, 8(a3)",
        "sd t3, 16(a3)",
        "sd t4, 24(a3)",
        "addi a1, a1, 32",
        "addi a3, a3, 32",
        "bltu a3, t5, 45b",
        "5:",
        "addi t5, a4, -7",
        "51:",
        "bgeu a3, t5, 8f",
        "ld t1, 0(a1)",
        "sd t1, 0(a3)",
        "addi a1, a1, 8",
        "addi a3, a3, 8",
        "j 51b",
        // The source is not at a word: each word of the target is made of two words of the source. The words contain bytes of the source,
        // so they are in pages of the source.
        "6:",
        "slli t1, t0, 3",
        "li t2, 64",
        "sub t2, t2, t1",
        "sub a5, a1, t0",
        "ld t3, 0(a5)",
        "addi t5, a4, -7",
        "7:",
        "bgeu a3, t5, 8f",
        "ld t4, 8(a5)",
        "srl t3, t3, t1",
        "sll t6, t4, t2",
        "or t3, t3, t6",
        "sd t3, 0(a3)",
        "mv t3, t4",
        "addi a5, a5, 8",
        "addi a1, a1, 8",
        "addi a3, a3, 8",
        "j 7b",
        // The last bytes.
        "8:",
        "beq a3, a4, 9f",
        "lbu t1, 0(a1)",
        "sb t1, 0(a3)",
        "addi a1, a1, 1",
        "addi a3, a3, 1",
        "j 8b",
        "9:",
        "ret",
    )
}

/// Fills `len` bytes with one value.
#[unsafe(naked)]
#[unsafe(no_mangle)]
unsafe extern "C" fn memset(to: *mut u8, value: i32, len: usize) -> *mut u8 {
    naked_asm!(
        "mv a3, a0",
        "add a4, a0, a2",
        "andi a1, a1, 0xff",
        "slli t0, a1, 8",
        "or a1, a1, t0",
        "slli t0, a1, 16",
        "or a1, a1, t0",
        "slli t0, a1, 32",
        "or a1, a1, t0",
        "2:",
        "beq a3, a4, 5f",
        "andi t0, a3, 7",
        "beqz t0, 3f",
        "sb a1, 0(a3)",
        "addi a3, a3, 1",
        "j 2b",
        "3:",
        "addi t1, a4, -7",
        "4:",
        "bgeu a3, t1, 6f",
        "sd a1, 0(a3)",
        "addi a3, a3, 8",
        "j 4b",
        "6:",
        "beq a3, a4, 5f",
        "sb a1, 0(a3)",
        "addi a3, a3, 1",
        "j 6b",
        "5:",
        "ret",
    )
}

/// Compares `len` bytes.
#[unsafe(naked)]
#[unsafe(no_mangle)]
unsafe extern "C" fn memcmp(left: *const u8, right: *const u8, len: usize) -> i32 {
    naked_asm!(
        "add a3, a0, a2",
        "or t0, a0, a1",
        "andi t0, t0, 7",
        "bnez t0, 3f",
        "addi t1, a3, -7",
        // Words as long as they are equal.
        "2:",
        "bgeu a0, t1, 3f",
        "ld t2, 0(a0)",
        "ld t3, 0(a1)",
        "bne t2, t3, 3f",
        "addi a0, a0, 8",
        "addi a1, a1, 8",
        "j 2b",
        "3:",
        "beq a0, a3, 4f",
        "lbu t2, 0(a0)",
        "lbu t3, 0(a1)",
        "addi a0, a0, 1",
        "addi a1, a1, 1",
        "beq t2, t3, 3b",
        "sub a0, t2, t3",
        "ret",
        "4:",
        "li a0, 0",
        "ret",
    )
}

/// Compares `len` bytes; only zero has a meaning.
#[unsafe(naked)]
#[unsafe(no_mangle)]
unsafe extern "C" fn bcmp(left: *const u8, right: *const u8, len: usize) -> i32 {
    naked_asm!("tail {}", sym memcmp)
}

/// Length of a C string.
#[unsafe(naked)]
#[unsafe(no_mangle)]
unsafe extern "C" fn strlen(text: *const u8) -> usize {
    naked_asm!(
        "mv a1, a0",
        "2:",
        "lbu t0, 0(a1)",
        "beqz t0, 3f",
        "addi a1, a1, 1",
        "j 2b",
        "3:",
        "sub a0, a1, a0",
        "ret",
    )
}
