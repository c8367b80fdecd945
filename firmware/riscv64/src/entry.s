# Header and entry of an Image (Linux Documentation/arch/riscv/boot.rst and boot-image-header.rst), and the handler of traps. The hart is in
# S-mode without translation of addresses, and the firmware is at any multiple of 4 KiB.

.option push
.option norelax

.set R_RISCV_RELATIVE, 3
.set SSTATUS_SIE, 1 << 1
.set SSTATUS_FS_INITIAL, 1 << 13

.section .head, "ax", @progbits
.globl image_start
image_start:
    .option push
    .option norvc
    j       start
    nop
    .option pop
    .quad   0x200000            # text_offset
    .quad   __image_end - image_start
    .quad   0                   # flags: little-endian
    .long   2                   # version 0.2
    .long   0
    .quad   0
    .ascii  "RISCV\0\0\0"
    .ascii  "RSC\x05"
    .long   0

start:
    csrw    sie, zero
    csrci   sstatus, SSTATUS_SIE
    csrw    satp, zero
    # The compiler may use floating-point registers.
    li      t0, SSTATUS_FS_INITIAL
    csrs    sstatus, t0

    lla     t1, __bss_start
    lla     t2, __bss_end
1:  bgeu    t1, t2, 2f
    sd      zero, (t1)
    addi    t1, t1, 8
    j       1b

    # Applies the relocations, which are relative to the link address.
2:  lla     t1, __rela_start
    lla     t2, __rela_end
    lla     t0, image_start
    lla     t3, linked_at
    ld      t3, (t3)
    sub     t3, t0, t3
    li      t6, R_RISCV_RELATIVE
3:  bgeu    t1, t2, 4f
    ld      t4, (t1)
    ld      t5, 8(t1)
    bne     t5, t6, stuck
    ld      t5, 16(t1)
    add     t4, t4, t3
    add     t5, t5, t3
    sd      t5, (t4)
    addi    t1, t1, 24
    j       3b

4:  lla     sp, __stack_top
    lla     t1, trap
    csrw    stvec, t1
    li      s0, 0
    li      ra, 0
    call    firmware_main       # a0: hart id, a1: device tree
stuck:
    wfi
    j       stuck

.balign 8
linked_at:
    .quad   __link_base

.text
.balign 4
trap:
    csrr    a0, scause
    csrr    a1, sepc
    csrr    a2, stval
    # The stack may have overflown, and nothing returns to what is on it.
    lla     sp, __stack_top
    call    firmware_exception
1:  wfi
    j       1b
.option pop

.section .page_tables, "aw", @nobits
.balign 4096
.globl page_tables
page_tables:
    .skip   2 * {PAGE_TABLES} * 4096
