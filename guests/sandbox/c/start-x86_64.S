/* x86_64: paging is on at the entry, and RSP is the end of the stack less 8. The host's IDT refers to the vectors. */
#include "vmboot_sandbox.h"

/* Offsets in struct vmsb_crash_record, and its size. */
#define PC 8
#define SP 16
#define FP 24
#define LINK 32
#define FAULT_ADDRESS 40
#define ERROR_CODE 48
#define STATUS 56
#define VECTOR 64
#define GENERAL(n) (72 + 8 * (n))
#define SIZE 328

.intel_syntax noprefix

/* Saves the registers apart from RSP in the record at `base`. */
.macro save_general base
    mov [\base + GENERAL(0)], rax
    mov [\base + GENERAL(1)], rdx
    mov [\base + GENERAL(2)], rcx
    mov [\base + GENERAL(3)], rbx
    mov [\base + GENERAL(4)], rsi
    mov [\base + GENERAL(5)], rdi
    mov [\base + GENERAL(6)], rbp
    mov [\base + FP], rbp
    mov [\base + GENERAL(8)], r8
    mov [\base + GENERAL(9)], r9
    mov [\base + GENERAL(10)], r10
    mov [\base + GENERAL(11)], r11
    mov [\base + GENERAL(12)], r12
    mov [\base + GENERAL(13)], r13
    mov [\base + GENERAL(14)], r14
    mov [\base + GENERAL(15)], r15
.endm

.section .text.vmsandbox, "ax", @progbits
.globl _start
_start:
    xor ebp, ebp
    and rsp, -16
    call vmsb_main
    ud2

.globl vmsb_vectors
.balign 16
vmsb_vectors:
.set vector, 0
.rept 32
    .balign 16
    /* The CPU pushes an error code for some vectors only. */
    .if !((0x60227d00 >> vector) & 1)
    push 0
    .endif
    push vector
    jmp fault
    .set vector, vector + 1
.endr

/* The stack has vector, error code, RIP, CS, RFLAGS, RSP and SS, which are 56 bytes below a multiple of 16. */
.balign 16
fault:
    sub rsp, SIZE
    save_general rsp
    cld
    xor eax, eax
    mov [rsp], rax
    mov [rsp + LINK], rax
    mov [rsp + FAULT_ADDRESS], rax
    lea rdi, [rsp + GENERAL(16)]
    mov ecx, 16
    rep stosq
    mov rax, [rsp + SIZE]
    mov [rsp + VECTOR], rax
    cmp rax, 14
    jne 1f
    mov rdx, cr2
    mov [rsp + FAULT_ADDRESS], rdx
1:  mov rax, [rsp + SIZE + 8]
    mov [rsp + ERROR_CODE], rax
    mov rax, [rsp + SIZE + 16]
    mov [rsp + PC], rax
    mov rax, [rsp + SIZE + 32]
    mov [rsp + STATUS], rax
    mov rax, [rsp + SIZE + 40]
    mov [rsp + SP], rax
    mov [rsp + GENERAL(7)], rax
    mov rdi, rsp
    xor ebp, ebp
    call vmsb_exception
    ud2

.text
.globl save_registers
save_registers:
    save_general rdi
    lea rax, [rsp + 8]
    mov [rdi + GENERAL(7)], rax
    mov [rdi + SP], rax
    mov rax, [rsp]
    mov [rdi + PC], rax
    pushfq
    pop qword ptr [rdi + STATUS]
    ret

.section .note.GNU-stack, "", @progbits
