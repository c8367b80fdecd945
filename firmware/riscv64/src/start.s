# a0, a1: registers of the kernel, a2: its first instruction. Jumps with all other registers zero.

.set SSTATUS_FS, 3 << 13

.text
.globl start_kernel
start_kernel:
    csrw    sie, zero
    csrw    satp, zero
    li      t0, SSTATUS_FS
    csrc    sstatus, t0
    # The kernel was written as data.
    fence   rw, rw
    fence.i
    mv      t0, a2
    .irp    r, ra, sp, gp, tp, t1, t2, s0, s1, a2, a3, a4, a5, a6, a7, s2, s3, s4, s5, s6, s7, s8, s9, s10, s11, t3, t4, t5, t6
    li      \r, 0
    .endr
    jr      t0
