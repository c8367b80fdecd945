# Entry points of the boot hart and of secondary harts. The former records the hart state, checks that memory without file content
# is zero, relocates the program and calls kernel_main. The MMU stays off.

.section .head, "awx", @progbits
.option push
.option norelax

.set R_RISCV_RELATIVE, 3

# xtask writes the header of an Image here; zeros in an ELF.
.globl image_start
image_start:
    .option push
    .option norvc
    j       start
    .option pop
    .fill   60, 1, 0

start:
    lla     t0, record
    sd      a0, {A0}(t0)
    sd      a1, {A1}(t0)
    csrr    t1, satp
    sd      t1, {SATP}(t0)
    csrr    t1, sstatus
    sd      t1, {SSTATUS}(t0)
    csrr    t1, sie
    sd      t1, {SIE}(t0)
    csrw    sie, zero
    csrci   sstatus, 2          # SIE
    lla     s0, image_start
    sd      s0, {BASE}(t0)

    # Finds the first nonzero bytes without file content, then zeroes all of them.
    lla     t1, __bss_start
    lla     t2, __image_end
    li      t3, -1
    li      t4, -1
1:  bgeu    t1, t2, 3f
    ld      t5, (t1)
    beqz    t5, 2f
    bne     t3, t4, 2f
    sub     t3, t1, s0
2:  sd      zero, (t1)
    addi    t1, t1, 8
    j       1b
3:  sd      t3, {DIRTY}(t0)

    # Applies the relocations, which are relative to the link address.
    lla     t1, __rela_start
    lla     t2, __rela_end
    lla     t3, linked_at
    ld      t3, (t3)
    sub     t3, s0, t3
    li      t6, R_RISCV_RELATIVE
4:  bgeu    t1, t2, 5f
    ld      t4, (t1)
    ld      t5, 8(t1)
    bne     t5, t6, stuck
    ld      t5, 16(t1)
    add     t4, t4, t3
    add     t5, t5, t3
    sd      t5, (t4)
    addi    t1, t1, 24
    j       4b

5:  lla     sp, __stack_top
    lla     t1, exception
    csrw    stvec, t1
    fence   rw, rw
    call    kernel_main
stuck:
    wfi
    j       stuck

# Entry point of secondary harts: a0 is the hart id, a1 the address of `Secondary`. Records the hart state without a stack, and
# calls hart_stop.
.balign 4
.globl secondary_start
secondary_start:
    sd      a0, {S_HART}(a1)
    sd      a1, {S_CONTEXT}(a1)
    csrr    t1, satp
    sd      t1, {S_SATP}(a1)
    csrr    t1, sstatus
    sd      t1, {S_SSTATUS}(a1)
    csrr    t1, sie
    sd      t1, {S_SIE}(a1)
    fence   rw, rw
    li      t1, 1
    sd      t1, {S_DONE}(a1)
    fence   rw, rw
    li      a7, 0x48534d        # HSM
    li      a6, 1               # hart_stop
    ecall
    j       stuck

.balign 8
linked_at:
    .quad   __link_base
.globl record
record:
    .fill   {RECORD_LEN}, 1, 0

.text
.balign 4
exception:
    csrr    a0, scause
    csrr    a1, sepc
    csrr    a2, stval
    andi    sp, sp, -16
    call    exception_entry
1:  wfi
    j       1b
.option pop
