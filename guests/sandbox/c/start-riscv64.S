/* riscv64: the MMU is off at the entry, and a0 is the address of the boot information. All traps go to the stack in sscratch. */
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

.section .text.vmsandbox, "ax", @progbits
.globl _start
_start:
    csrw sie, zero
    lla t0, vmsb_vectors
    csrw stvec, t0
    ld t1, VMSB_BOOT_INFO_FAULT_STACK_TOP(a0)
    csrw sscratch, t1
    /* sstatus.FS: floating-point instructions are not trapped. */
    li t2, 1 << 13
    csrs sstatus, t2
    csrw fcsr, zero
    ld t3, VMSB_BOOT_INFO_MMU(a0)
    sfence.vma
    csrw satp, t3
    sfence.vma
    fence.i
    ld sp, VMSB_BOOT_INFO_STACK_TOP(a0)
    mv s0, zero
    mv ra, zero
    mv gp, zero
    mv tp, zero
    call vmsb_main
    unimp

/* Saves the registers apart from x2, which is sp, in the record at `base`. */
.macro save_general base
    sd zero, GENERAL(0)(\base)
    sd x1, GENERAL(1)(\base)
    .irp n, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31
    sd x\n, GENERAL(\n)(\base)
    .endr
    sd s0, FP(\base)
    sd ra, LINK(\base)
.endm

.globl vmsb_vectors
.balign 4
vmsb_vectors:
    csrrw sp, sscratch, sp
    addi sp, sp, -SIZE
    save_general sp
    sd zero, 0(sp)
    /* The stack of the program; the next trap starts at the end of this stack again. */
    addi t1, sp, SIZE
    csrrw t0, sscratch, t1
    sd t0, GENERAL(2)(sp)
    sd t0, SP(sp)
    csrr t0, sepc
    sd t0, PC(sp)
    csrr t0, scause
    sd t0, ERROR_CODE(sp)
    sd t0, VECTOR(sp)
    csrr t0, stval
    sd t0, FAULT_ADDRESS(sp)
    csrr t0, sstatus
    sd t0, STATUS(sp)
    mv s0, zero
    mv a0, sp
    call vmsb_exception
    unimp

.text
.globl save_registers
save_registers:
    save_general a0
    sd sp, GENERAL(2)(a0)
    sd sp, SP(a0)
    sd ra, PC(a0)
    ret

.section .note.GNU-stack, "", @progbits
