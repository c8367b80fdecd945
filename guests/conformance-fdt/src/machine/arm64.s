// Entry points of the boot CPU and of secondary CPUs. The former records the CPU state, checks that memory without file content
// is zero, relocates the program and calls kernel_main. MMU and caches stay off.

.section .head, "awx", %progbits

.set EL2, 2 << 2                // CurrentEL
.set SCTLR_EE, 1 << 25          // data accesses are big-endian
.set R_AARCH64_RELATIVE, 1027

// Reads SCTLR of this exception level into \value; instructions are always little-endian, but data accesses may need a
// switch before the first one.
.macro own_byte_order value, spare
    mrs     \spare, CurrentEL
    cmp     \spare, #EL2
    b.eq    1f
    mrs     \value, sctlr_el1
    .if {BIG_ENDIAN}
    orr     \spare, \value, #SCTLR_EE
    .else
    bic     \spare, \value, #SCTLR_EE
    .endif
    msr     sctlr_el1, \spare
    b       2f
1:  mrs     \value, sctlr_el2
    .if {BIG_ENDIAN}
    orr     \spare, \value, #SCTLR_EE
    .else
    bic     \spare, \value, #SCTLR_EE
    .endif
    msr     sctlr_el2, \spare
2:  isb
.endm

// xtask writes the header of an Image here; zeros in an ELF.
.globl image_start
image_start:
    b       start
    .fill   60, 1, 0

start:
    own_byte_order x5, x6
    adr     x4, record
    str     x5, [x4, {SCTLR}]
    stp     x0, x1, [x4, {X0}]
    stp     x2, x3, [x4, {X0} + 16]
    mrs     x5, CurrentEL
    str     x5, [x4, {CURRENT_EL}]
    mrs     x5, daif
    str     x5, [x4, {DAIF}]
    mrs     x5, spsel
    str     x5, [x4, {SPSEL}]
    mrs     x5, mpidr_el1
    str     x5, [x4, {MPIDR}]
    adr     x6, image_start
    str     x6, [x4, {BASE}]
    msr     daifset, #15
    msr     spsel, #1

    // Finds the first nonzero bytes without file content, then zeroes all of them.
    adrp    x7, __bss_start
    add     x7, x7, :lo12:__bss_start
    adrp    x8, __image_end
    add     x8, x8, :lo12:__image_end
    mov     x9, #-1
1:  cmp     x7, x8
    b.hs    3f
    ldr     x10, [x7]
    cbz     x10, 2f
    cmn     x9, #1
    b.ne    2f
    sub     x9, x7, x6
2:  str     xzr, [x7], #8
    b       1b
3:  str     x9, [x4, {DIRTY}]

    // Applies the relocations, which are relative to the link address.
    adrp    x7, __rela_start
    add     x7, x7, :lo12:__rela_start
    adrp    x8, __rela_end
    add     x8, x8, :lo12:__rela_end
    adr     x10, linked_at
    ldr     x10, [x10]
    sub     x10, x6, x10
4:  cmp     x7, x8
    b.hs    5f
    ldp     x11, x12, [x7], #16
    ldr     x13, [x7], #8
    cmp     x12, #R_AARCH64_RELATIVE
    b.ne    stuck
    add     x13, x13, x10
    str     x13, [x11, x10]
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
    bl      kernel_main
stuck:
    wfi
    b       stuck

// Entry point of secondary CPUs: x0 is the address of `Secondary`. Records the CPU state without a stack, and calls CPU_OFF.
.globl secondary_start
secondary_start:
    own_byte_order x5, x6
    str     x5, [x0, {S_SCTLR}]
    str     x0, [x0, {S_CONTEXT}]
    mrs     x5, CurrentEL
    str     x5, [x0, {S_CURRENT_EL}]
    mrs     x5, daif
    str     x5, [x0, {S_DAIF}]
    mrs     x5, spsel
    str     x5, [x0, {S_SPSEL}]
    mrs     x5, mpidr_el1
    str     x5, [x0, {S_MPIDR}]
    mrs     x5, cntfrq_el0
    str     x5, [x0, {S_FREQUENCY}]
    ldr     x6, [x0, {S_USES_SMC}]
    dsb     sy
    mov     x5, #1
    str     x5, [x0, {S_DONE}]
    dsb     sy
    mov     x0, #2
    movk    x0, #0x8400, lsl #16 // CPU_OFF
    cbnz    x6, 1f
    hvc     #0
    b       stuck
1:  smc     #0
    b       stuck

.balign 8
linked_at:
    .quad   __link_base
.globl record
record:
    .fill   {RECORD_LEN}, 1, 0

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
2:  mov     x4, sp
    and     sp, x4, #-16
    bl      exception_entry
    b       stuck
