//! x86_64: 16 bytes at a time with SSE2.
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
        "mov rax, rdi",
        "cmp rdx, 16",
        "jb 5f",
        "movups xmm4, [rsi]",
        "movups xmm6, [rsi + rdx - 16]",
        "cmp rdx, 32",
        "ja 2f",
        "movups [rdi], xmm4",
        "movups [rdi + rdx - 16], xmm6",
        "ret",
        // More than 32 bytes.
        "2:",
        "mov rcx, rdi",
        "sub rcx, rsi",
        "cmp rcx, rdx",
        "jb 4f",
        "movups xmm7, [rsi + rdx - 32]",
        "lea rcx, [rdi + rdx]",
        "3:",
        "movups xmm0, [rsi]",
        "movups xmm1, [rsi + 16]",
        "movups [rdi], xmm0",
        "movups [rdi + 16], xmm1",
        "add rsi, 32",
        "add rdi, 32",
        "sub rdx, 32",
        "cmp rdx, 32",
        "ja 3b",
        "movups [rcx - 32], xmm7",
        "movups [rcx - 16], xmm6",
        "ret",
        // Backward.
        "4:",
        "movups xmm5, [rsi + 16]",
        "42:",
        "movups xmm0, [rsi + rdx - 16]",
        "movups xmm1, [rsi + rdx - 32]",
        "movups [rdi + rdx - 16], xmm0",
        "movups [rdi + rdx - 32], xmm1",
        "sub rdx, 32",
        "cmp rdx, 32",
        "ja 42b",
        "movups [rdi], xmm4",
        "movups [rdi + 16], xmm5",
        "ret",
        // Less than 16 bytes.
        "5:",
        "cmp edx, 8",
        "jb 6f",
        "mov rcx, [rsi]",
        "mov r8, [rsi + rdx - 8]",
        "mov [rdi], rcx",
        "mov [rdi + rdx - 8], r8",
        "ret",
        "6:",
        "cmp edx, 4",
        "jb 7f",
        "mov ecx, [rsi]",
        "mov r8d, [rsi + rdx - 4]",
        "mov [rdi], ecx",
        "mov [rdi + rdx - 4], r8d",
        "ret",
        "7:",
        "test edx, edx",
        "jz 8f",
        "movzx ecx, byte ptr [rsi]",
        "movzx r8d, byte ptr [rsi + rdx - 1]",
        "mov r9, rdx",
        "shr r9, 1",
        "movzx r10d, byte ptr [rsi + r9]",
        "mov [rdi], cl",
        "mov [rdi + r9], r10b",
        "mov [rdi + rdx - 1], r8b",
        "8:",
        "ret",
    )
}

/// Copies `len` bytes.
#[unsafe(naked)]
#[unsafe(no_mangle)]
unsafe extern "C" fn memcpy(to: *mut u8, from: *const u8, len: usize) -> *mut u8 {
    naked_asm!("jmp {}", sym memmove)
}

/// Fills `len` bytes with one value.
#[unsafe(naked)]
#[unsafe(no_mangle)]
unsafe extern "C" fn memset(to: *mut u8, value: i32, len: usize) -> *mut u8 {
    naked_asm!(
        "mov rax, rdi",
        "movzx esi, sil",
        "mov rcx, 0x0101010101010101",
        "imul rsi, rcx",
        "cmp rdx, 16",
        "jb 4f",
        "movq xmm0, rsi",
        "punpcklqdq xmm0, xmm0",
        "lea rcx, [rdi + rdx - 16]",
        // All whole blocks but the last, then the last 16 bytes.
        "2:",
        "cmp rdi, rcx",
        "jae 3f",
        "movups [rdi], xmm0",
        "add rdi, 16",
        "jmp 2b",
        "3:",
        "movups [rcx], xmm0",
        "ret",
        "4:",
        "cmp edx, 8",
        "jb 5f",
        "mov [rdi], rsi",
        "mov [rdi + rdx - 8], rsi",
        "ret",
        "5:",
        "cmp edx, 4",
        "jb 6f",
        "mov [rdi], esi",
        "mov [rdi + rdx - 4], esi",
        "ret",
        "6:",
        "test edx, edx",
        "jz 7f",
        "mov [rdi], sil",
        "mov [rdi + rdx - 1], sil",
        "shr edx, 1",
        "mov [rdi + rdx], sil",
        "7:",
        "ret",
    )
}

/// Compares `len` bytes.
#[unsafe(naked)]
#[unsafe(no_mangle)]
unsafe extern "C" fn memcmp(left: *const u8, right: *const u8, len: usize) -> i32 {
    naked_asm!(
        "xor ecx, ecx",
        "2:",
        "lea r8, [rcx + 16]",
        "cmp r8, rdx",
        "ja 3f",
        "movups xmm0, [rdi + rcx]",
        "movups xmm1, [rsi + rcx]",
        "pcmpeqb xmm0, xmm1",
        "pmovmskb eax, xmm0",
        "xor eax, 0xffff",
        "jnz 5f",
        "mov rcx, r8",
        "jmp 2b",
        // The last bytes.
        "3:",
        "cmp rcx, rdx",
        "jae 4f",
        "movzx eax, byte ptr [rdi + rcx]",
        "movzx r8d, byte ptr [rsi + rcx]",
        "inc rcx",
        "sub eax, r8d",
        "jz 3b",
        "ret",
        "4:",
        "xor eax, eax",
        "ret",
        // The lowest bit is the first byte that differs.
        "5:",
        "bsf eax, eax",
        "add rcx, rax",
        "movzx eax, byte ptr [rdi + rcx]",
        "movzx r8d, byte ptr [rsi + rcx]",
        "sub eax, r8d",
        "ret",
    )
}

/// Compares `len` bytes; only zero has a meaning.
#[unsafe(naked)]
#[unsafe(no_mangle)]
unsafe extern "C" fn bcmp(left: *const u8, right: *const u8, len: usize) -> i32 {
    naked_asm!("jmp {}", sym memcmp)
}

/// Length of a C string.
#[unsafe(naked)]
#[unsafe(no_mangle)]
unsafe extern "C" fn strlen(text: *const u8) -> usize {
    naked_asm!(
        "xor eax, eax",
        "2:",
        "cmp byte ptr [rdi + rax], 0",
        "je 3f",
        "inc rax",
        "jmp 2b",
        "3:",
        "ret",
    )
}
