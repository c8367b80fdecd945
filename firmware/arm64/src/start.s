// x0: first register of the kernel, x1: its first instruction. Turns MMU and data cache off, and jumps with all other registers zero.

.set EL2, 2 << 2                // CurrentEL
.set SCTLR_M, 1 << 0
.set SCTLR_C, 1 << 2

.text
.globl start_kernel
start_kernel:
    msr     daifset, #15
    mov     x16, x1
    dsb     sy
    mrs     x2, CurrentEL
    cmp     x2, #EL2
    b.eq    1f
    mrs     x2, sctlr_el1
    bic     x2, x2, #SCTLR_M
    bic     x2, x2, #SCTLR_C
    msr     sctlr_el1, x2
    isb
    tlbi    vmalle1
    b       2f
1:  mrs     x2, sctlr_el2
    bic     x2, x2, #SCTLR_M
    bic     x2, x2, #SCTLR_C
    msr     sctlr_el2, x2
    isb
    tlbi    alle2
2:  ic      iallu
    dsb     nsh
    isb
    mov     x1, xzr
    mov     x2, xzr
    mov     x3, xzr
    .irp    n, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30
    mov     x\n, xzr
    .endr
    br      x16
