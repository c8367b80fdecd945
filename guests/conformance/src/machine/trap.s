# Exceptions end the program; IRQ 4 is the serial port. All other IRQs are masked, but the interrupt controllers can deliver
# spurious interrupts.

.text
.code64

.macro exception vector, has_code
exception_\vector:
    .if \has_code == 0
    pushq   $0
    .endif
    pushq   $\vector
    jmp     exception_any
.endm

exception 0, 0
exception 1, 0
exception 2, 0
exception 3, 0
exception 4, 0
exception 5, 0
exception 6, 0
exception 7, 0
exception 8, 1
exception 9, 0
exception 10, 1
exception 11, 1
exception 12, 1
exception 13, 1
exception 14, 1
exception 15, 0
exception 16, 0
exception 17, 1
exception 18, 0
exception 19, 0
exception 20, 0
exception 21, 1
exception 22, 0
exception 23, 0
exception 24, 0
exception 25, 0
exception 26, 0
exception 27, 0
exception 28, 0
exception 29, 1
exception 30, 1
exception 31, 0

exception_any:
    movq    %rsp, %rdi
    andq    $-16, %rsp
    call    exception_entry
    ud2

serial_interrupt:
    pushq   %rax
    pushq   %rcx
    pushq   %rdx
    pushq   %rsi
    pushq   %rdi
    pushq   %r8
    pushq   %r9
    pushq   %r10
    pushq   %r11
    call    serial_interrupt_entry
    popq    %r11
    popq    %r10
    popq    %r9
    popq    %r8
    popq    %rdi
    popq    %rsi
    popq    %rdx
    popq    %rcx
    popq    %rax
    iretq

spurious_interrupt:
    iretq

# Handler addresses of all vectors, for the IDT.
.section .rodata
.balign 8
.globl vectors
vectors:
    .quad   exception_0,  exception_1,  exception_2,  exception_3
    .quad   exception_4,  exception_5,  exception_6,  exception_7
    .quad   exception_8,  exception_9,  exception_10, exception_11
    .quad   exception_12, exception_13, exception_14, exception_15
    .quad   exception_16, exception_17, exception_18, exception_19
    .quad   exception_20, exception_21, exception_22, exception_23
    .quad   exception_24, exception_25, exception_26, exception_27
    .quad   exception_28, exception_29, exception_30, exception_31
    .quad   spurious_interrupt, spurious_interrupt, spurious_interrupt, spurious_interrupt
    .quad   serial_interrupt,   spurious_interrupt, spurious_interrupt, spurious_interrupt
    .quad   spurious_interrupt, spurious_interrupt, spurious_interrupt, spurious_interrupt
    .quad   spurious_interrupt, spurious_interrupt, spurious_interrupt, spurious_interrupt
.text
