/* arm64: the MMU is off at the entry, and X0 is the address of the boot information. All exceptions go to a stack of their own. */
#include "vmboot_sandbox.h"

/* Offsets in struct vmsb_crash_record, and its size, rounded up for the stack. */
#define PC 8
#define SP 16
#define FP 24
#define LINK 32
#define FAULT_ADDRESS 40
#define ERROR_CODE 48
#define STATUS 56
#define VECTOR 64
#define GENERAL(n) (72 + 8 * (n))
#define SIZE 336

/* Saves the registers apart from X0 and X1 in the record at X0. Changes X1. */
.macro save_general
    stp x2, x3, [x0, #GENERAL(2)]
    stp x4, x5, [x0, #GENERAL(4)]
    stp x6, x7, [x0, #GENERAL(6)]
    stp x8, x9, [x0, #GENERAL(8)]
    stp x10, x11, [x0, #GENERAL(10)]
    stp x12, x13, [x0, #GENERAL(12)]
    stp x14, x15, [x0, #GENERAL(14)]
    stp x16, x17, [x0, #GENERAL(16)]
    stp x18, x19, [x0, #GENERAL(18)]
    stp x20, x21, [x0, #GENERAL(20)]
    stp x22, x23, [x0, #GENERAL(22)]
    stp x24, x25, [x0, #GENERAL(24)]
    stp x26, x27, [x0, #GENERAL(26)]
    stp x28, x29, [x0, #GENERAL(28)]
    mov x1, sp
    stp x30, x1, [x0, #GENERAL(30)]
    str x1, [x0, #SP]
    stp x29, x30, [x0, #FP]
.endm

.section .text.vmsandbox, "ax", @progbits
.globl _start
_start:
    ldr x1, [x0, #VMSB_BOOT_INFO_MMU]
    ldr x2, [x0, #VMSB_BOOT_INFO_MMU + 8]
    ldr x3, [x0, #VMSB_BOOT_INFO_MMU + 16]
    ldr x4, [x0, #VMSB_BOOT_INFO_MMU + 24]
    msr mair_el1, x1
    msr tcr_el1, x2
    msr ttbr0_el1, x3
    msr ttbr1_el1, xzr
    adrp x5, vmsb_vectors
    add x5, x5, :lo12:vmsb_vectors
    msr vbar_el1, x5
    /* CPACR_EL1.FPEN: floating-point and SIMD instructions are not trapped. */
    mov x6, #(3 << 20)
    msr cpacr_el1, x6
    isb
    tlbi vmalle1
    ic iallu
    dsb nsh
    isb
    msr sctlr_el1, x4
    isb
    ldr x7, [x0, #VMSB_BOOT_INFO_STACK_TOP]
    mov sp, x7
    mov x29, xzr
    mov x30, xzr
    bl vmsb_main
    brk #0

/* The stack of the program may have overflowed, so X0 and X1 go to system registers, which the program does not use. */
.globl vmsb_vectors
.balign 2048
vmsb_vectors:
.set vector, 0
.rept 16
    .balign 128
    msr tpidr_el1, x0
    msr tpidrro_el0, x1
    mov x1, #vector
    b fault
    .set vector, vector + 1
.endr

.balign 128
fault:
    movz x0, #(VMSB_BOOT_INFO >> 16), lsl #16
    movk x0, #(VMSB_BOOT_INFO & 0xffff)
    ldr x0, [x0, #VMSB_BOOT_INFO_FAULT_STACK_TOP]
    sub x0, x0, #SIZE
    str x1, [x0, #VECTOR]
    mrs x1, tpidrro_el0
    str x1, [x0, #GENERAL(1)]
    mrs x1, tpidr_el1
    str x1, [x0, #GENERAL(0)]
    save_general
    str xzr, [x0]
    mrs x1, elr_el1
    str x1, [x0, #PC]
    mrs x1, far_el1
    str x1, [x0, #FAULT_ADDRESS]
    mrs x1, esr_el1
    str x1, [x0, #ERROR_CODE]
    mrs x1, spsr_el1
    str x1, [x0, #STATUS]
    mov sp, x0
    mov x29, xzr
    bl vmsb_exception
    brk #0

.text
.globl save_registers
save_registers:
    stp x0, x1, [x0, #GENERAL(0)]
    save_general
    str x30, [x0, #PC]
    ret

.section .note.GNU-stack, "", %progbits
