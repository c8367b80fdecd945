# Header and entry of an Image (Linux Documentation/arch/riscv/boot.rst and boot-image-header.rst), and the handler of traps. The hart is in
# S-mode without translation of addresses, and the firmware is at any multiple of 4 KiB.

.option push
.option norelax

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
    li      s1, 0               # The firmware is where it was loaded.
enter:
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
2:  lla     t1, __relr_start
    lla     t2, __relr_end
    lla     t0, image_start
    lla     t3, linked_at
    ld      t3, (t3)
    sub     t3, t0, t3
    # SHT_RELR: an even entry is the address of a word; an odd one has a bit for each of the 63 words behind the last one.
3:  bgeu    t1, t2, 4f
    ld      t4, (t1)
    addi    t1, t1, 8
    andi    t5, t4, 1
    bnez    t5, 31f
    add     t6, t4, t3
    ld      t5, (t6)
    add     t5, t5, t3
    sd      t5, (t6)
    addi    t6, t6, 8
    j       3b
31: mv      t0, t6
32: srli    t4, t4, 1
    beqz    t4, 34f
    andi    t5, t4, 1
    beqz    t5, 33f
    ld      t5, (t0)
    add     t5, t5, t3
    sd      t5, (t0)
33: addi    t0, t0, 8
    j       32b
34: addi    t6, t6, 63 * 8
    j       3b

4:  lla     sp, __stack_top
    lla     t1, trap
    csrw    stvec, t1
    li      s0, 0
    li      ra, 0
    mv      a2, s1
    call    firmware_main       # a0: hart id, a1: device tree, a2: whether the firmware has moved
stuck:
    wfi
    j       stuck

# Copies the firmware to the address a0, and enters the copy with hart id a1 and device tree a2. Only code and constants are as in the file:
# the copy relocates itself again, and clears its memory.
.globl move_image
move_image:
    lla     t0, image_start
    lla     t1, __bss_start
    mv      t2, a0
1:  ld      t3, (t0)
    sd      t3, (t2)
    addi    t0, t0, 8
    addi    t2, t2, 8
    bltu    t0, t1, 1b
    fence.i
    lla     t0, image_start
    lla     t1, enter
    sub     t1, t1, t0
    add     t1, t1, a0
    mv      a0, a1
    mv      a1, a2
    li      s1, 1
    jr      t1

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
