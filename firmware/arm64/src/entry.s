// Header and entry of an Image (Linux Documentation/arch/arm64/booting.rst), and the vectors for exceptions. MMU and data cache are off at the
// entry, and the firmware is at any multiple of 4 KiB. At address 0 it is in the flash of QEMU's machine virt, without a boot protocol: it
// copies itself to RAM.

.set EL2, 2 << 2                // CurrentEL

// QEMU's machine virt: RAM, with the device tree at its start (docs/system/arm/virt.rst, "Hardware configuration information for bare-metal
// programming"), and a place behind the tree.
.set VIRT_TREE, 0x40000000
.set VIRT_IMAGE, 0x40200000

.section .head, "ax", %progbits
.globl image_start
image_start:
    b       start
    .long   0
    .quad   0                   // text_offset
    .quad   __image_end - image_start
    .quad   0b1010              // flags: little-endian, pages of 4 KiB, anywhere in RAM
    .quad   0, 0, 0
    .ascii  "ARM\x64"
    .long   0

start:
    msr     daifset, #15
    msr     spsel, #1
    mov     x20, x0

    adr     x6, image_start
    cbz     x6, in_flash
in_ram:

    // Another program may have left lines of the memory without file content in the caches: they would replace what is written past them.
    mrs     x1, ctr_el0
    ubfx    x1, x1, #16, #4     // DminLine: log2 of words
    mov     x2, #4
    lsl     x1, x2, x1
    adrp    x7, __bss_start
    add     x7, x7, :lo12:__bss_start
    adrp    x8, __image_end
    add     x8, x8, :lo12:__image_end
1:  dc      ivac, x7
    add     x7, x7, x1
    cmp     x7, x8
    b.lo    1b
    dsb     sy

    adrp    x7, __bss_start
    add     x7, x7, :lo12:__bss_start
    adrp    x8, __bss_end
    add     x8, x8, :lo12:__bss_end
2:  cmp     x7, x8
    b.hs    3f
    stp     xzr, xzr, [x7], #16
    b       2b

    // Applies the relocations, which are relative to the link address.
3:  adr     x6, image_start
    adr     x10, linked_at
    ldr     x10, [x10]
    sub     x10, x6, x10
    adrp    x7, __relr_start
    add     x7, x7, :lo12:__relr_start
    adrp    x8, __relr_end
    add     x8, x8, :lo12:__relr_end
    // SHT_RELR: an even entry is the address of a word; an odd one has a bit for each of the 63 words behind the last one.
4:  cmp     x7, x8
    b.hs    5f
    ldr     x11, [x7], #8
    tbnz    x11, #0, 41f
    add     x12, x11, x10
    ldr     x13, [x12]
    add     x13, x13, x10
    str     x13, [x12], #8
    b       4b
41: mov     x14, x12
42: lsr     x11, x11, #1
    cbz     x11, 44f
    tbz     x11, #0, 43f
    ldr     x13, [x14]
    add     x13, x13, x10
    str     x13, [x14]
43: add     x14, x14, #8
    b       42b
44: add     x12, x12, #63 * 8
    b       4b

5:  adrp    x7, __stack_top
    add     x7, x7, :lo12:__stack_top
    mov     sp, x7
    adrp    x7, vectors
    add     x7, x7, :lo12:vectors
    mrs     x8, CurrentEL
    cmp     x8, #EL2
    b.eq    6f
    msr     vbar_el1, x7
    b       7f
6:  msr     vbar_el2, x7
7:  dsb     sy
    isb
    mov     x0, x20
    mov     x29, xzr
    mov     x30, xzr
    bl      firmware_main
stuck:
    wfi
    b       stuck

in_flash:
    mov     x7, #VIRT_IMAGE
    adrp    x8, __data_end
    add     x8, x8, :lo12:__data_end
1:  ldp     x11, x12, [x6], #16
    stp     x11, x12, [x7], #16
    cmp     x6, x8
    b.lo    1b
    dsb     sy
    ic      iallu
    dsb     sy
    isb
    mov     x20, #VIRT_TREE
    mov     x7, #VIRT_IMAGE
    add     x7, x7, #(in_ram - image_start)
    br      x7

.balign 8
linked_at:
    .quad   __link_base

.text
.balign 2048
vectors:
.set vector, 0
.rept 16
    .balign 128
    mov     x0, #vector
    b       exception
    .set vector, vector + 1
.endr

exception:
    mrs     x4, CurrentEL
    cmp     x4, #EL2
    b.eq    1f
    mrs     x1, esr_el1
    mrs     x2, elr_el1
    mrs     x3, far_el1
    b       2f
1:  mrs     x1, esr_el2
    mrs     x2, elr_el2
    mrs     x3, far_el2
    // The stack may have overflown, and nothing returns to what is on it.
2:  adrp    x4, __stack_top
    add     x4, x4, :lo12:__stack_top
    mov     sp, x4
    bl      firmware_exception
    b       stuck

.section .page_tables, "aw", %nobits
.balign 4096
.globl page_tables
page_tables:
    .skip   2 * {PAGE_TABLES} * 4096
