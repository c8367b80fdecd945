//! arm64: 16 and 32 bytes at a time.
#![expect(unsafe_code, reason = "assembly")]

use core::arch::naked_asm;

/// Copies `len` bytes; the ranges may overlap.
///
/// Forward copies load the last 32 bytes before they store any, and each later load is at or above all stores so far. Backward copies are
/// used if the target starts inside the source; they load the first 32 bytes early.
#[unsafe(naked)]
#[unsafe(no_mangle)]
unsafe extern "C" fn memmove(to: *mut u8, from: *const u8, len: usize) -> *mut u8 {
    naked_asm!(
        "add x4, x1, x2",
        "add x5, x0, x2",
        "cmp x2, 16",
        "b.lo 5f",
        "ldr q4, [x1]",
        "ldr q6, [x4, -16]",
        "cmp x2, 32",
        "b.hi 2f",
        "str q4, [x0]",
        "str q6, [x5, -16]",
        "ret",
        // More than 32 bytes.
        "2:",
        "sub x3, x0, x1",
        "cmp x3, x2",
        "b.lo 4f",
        "ldr q7, [x4, -32]",
        "mov x3, x0",
        "3:",
        "ldp q0, q1, [x1], 32",
        "stp q0, q1, [x3], 32",
        "sub x2, x2, 32",
        "cmp x2, 32",
        "b.hi 3b",
        "stp q7, q6, [x5, -32]",
        "ret",
        // Backward.
        "4:",
        "ldr q5, [x1, 16]",
        "42:",
        "ldp q0, q1, [x4, -32]!",
        "stp q0, q1, [x5, -32]!",
        "sub x2, x2, 32",
        "cmp x2, 32",
        "b.hi 42b",
        "stp q4, q5, [x0]",
        "ret",
        // Less than 16 bytes.
        "5:",
        "tbz x2, 3, 6f",
        "ldr x6, [x1]",
        "ldr x7, [x4, -8]",
        "str x6, [x0]",
        "str x7, [x5, -8]",
        "ret",
        "6:",
        "tbz x2, 2, 7f",
        "ldr w6, [x1]",
        "ldr w7, [x4, -4]",
        "str w6, [x0]",
        "str w7, [x5, -4]",
        "ret",
        "7:",
        "cbz x2, 8f",
        "lsr x8, x2, 1",
        "ldrb w6, [x1]",
        "ldrb w7, [x4, -1]",
        "ldrb w9, [x1, x8]",
        "strb w6, [x0]",
        "strb w9, [x0, x8]",
        "strb w7, [x5, -1]",
        "8:",
        "ret",
    )
}

/// Copies `len` bytes.
#[unsafe(naked)]
#[unsafe(no_mangle)]
unsafe extern "C" fn memcpy(to: *mut u8, from: *const u8, len: usize) -> *mut u8 {
    naked_asm!("b {}", sym memmove)
}

/// Fills `len` bytes with one value.
#[unsafe(naked)]
#[unsafe(no_mangle)]
unsafe extern "C" fn memset(to: *mut u8, value: i32, len: usize) -> *mut u8 {
    naked_asm!(
        "dup v0.16b, w1",
        "add x5, x0, x2",
        "cmp x2, 16",
        "b.lo 4f",
        "mov x3, x0",
        "sub x4, x5, 16",
        // All whole blocks but the last, then the last 16 bytes.
        "2:",
        "cmp x3, x4",
        "b.hs 3f",
        "str q0, [x3], 16",
        "b 2b",
        "3:",
        "str q0, [x4]",
        "ret",
        "4:",
        "tbz x2, 3, 5f",
        "str d0, [x0]",
        "str d0, [x5, -8]",
        "ret",
        "5:",
        "tbz x2, 2, 6f",
        "str s0, [x0]",
        "str s0, [x5, -4]",
        "ret",
        "6:",
        "cbz x2, 7f",
        "lsr x6, x2, 1",
        "strb w1, [x0]",
        "strb w1, [x0, x6]",
        "strb w1, [x5, -1]",
        "7:",
        "ret",
    )
}

/// Compares `len` bytes.
#[unsafe(naked)]
#[unsafe(no_mangle)]
unsafe extern "C" fn memcmp(left: *const u8, right: *const u8, len: usize) -> i32 {
    naked_asm!(
        "2:",
        "cmp x2, 8",
        "b.lo 3f",
        "ldr x3, [x0], 8",
        "ldr x4, [x1], 8",
        "sub x2, x2, 8",
        "cmp x3, x4",
        "b.eq 2b",
        // The first byte that differs decides: it is the highest one in the reversed order.
        "rev x3, x3",
        "rev x4, x4",
        "cmp x3, x4",
        "cset w0, hi",
        "csinv w0, w0, wzr, hs",
        "ret",
        "3:",
        "cbz x2, 4f",
        "ldrb w3, [x0], 1",
        "ldrb w4, [x1], 1",
        "sub x2, x2, 1",
        "subs w3, w3, w4",
        "b.eq 3b",
        "mov w0, w3",
        "ret",
        "4:",
        "mov w0, wzr",
        "ret",
    )
}

/// Compares `len` bytes; only zero has a meaning.
#[unsafe(naked)]
#[unsafe(no_mangle)]
unsafe extern "C" fn bcmp(left: *const u8, right: *const u8, len: usize) -> i32 {
    naked_asm!("b {}", sym memcmp)
}

/// Length of a C string.
#[unsafe(naked)]
#[unsafe(no_mangle)]
unsafe extern "C" fn strlen(text: *const u8) -> usize {
    naked_asm!(
        "mov x1, x0",
        "2:",
        "ldrb w2, [x1], 1",
        "cbnz w2, 2b",
        "sub x0, x1, x0",
        "sub x0, x0, 1",
        "ret",
    )
}
