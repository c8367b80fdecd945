# PVH entry: 32-bit protected mode without paging, ebx = physical address of the start info. Maps the first 4 GiB to themselves with pages of
# 2 MiB, and calls firmware_main in 64-bit mode.

.set CODE64, 0x08
.set DATA, 0x10

.set LARGE_PAGE, 0x83           # present, writable, 2 MiB
.set TABLE, 0x3                 # present, writable
.set CR4_PAE, 1 << 5
.set CR4_SSE, 1 << 9 | 1 << 10  # OSFXSR, OSXMMEXCPT
.set MSR_EFER, 0xc0000080
.set EFER_LME, 1 << 8
.set CR0_SET, 1 << 31 | 1 << 16 | 1 << 5 | 1 << 1  # PG, WP, NE, MP
.set CR0_CLEAR, 1 << 3 | 1 << 2                    # TS, EM

.section .note.Xen, "a", @note
.balign 4
    .long   4                   # length of the name
    .long   8                   # length of the description
    .long   18                  # XEN_ELFNOTE_PHYS32_ENTRY
    .asciz  "Xen"
    .quad   pvh_start

.section .text.entry, "ax", @progbits
.code32
.globl pvh_start
pvh_start:
    cli
    cld
    movl    $__stack_top, %esp
    movl    %ebx, %ebp

    movl    $page_directories, %edi
    movl    $LARGE_PAGE, %eax
    movl    $4 * 512, %ecx
1:  movl    %eax, (%edi)
    movl    $0, 4(%edi)
    addl    $0x200000, %eax
    addl    $8, %edi
    decl    %ecx
    jnz     1b

    movl    $page_directory_pointers, %edi
    movl    $page_directories + TABLE, %eax
    movl    $4, %ecx
2:  movl    %eax, (%edi)
    addl    $4096, %eax
    addl    $8, %edi
    decl    %ecx
    jnz     2b

    movl    $page_directory_pointers + TABLE, page_map
    movl    $page_map, %eax
    movl    %eax, %cr3
    movl    %cr4, %eax
    orl     $CR4_PAE | CR4_SSE, %eax
    movl    %eax, %cr4
    movl    $MSR_EFER, %ecx
    rdmsr
    orl     $EFER_LME, %eax
    wrmsr
    movl    %cr0, %eax
    orl     $CR0_SET, %eax
    andl    $~(CR0_CLEAR), %eax
    movl    %eax, %cr0
    lgdt    gdtr
    ljmp    $CODE64, $start_64

.code64
start_64:
    movl    $DATA, %eax
    movl    %eax, %ds
    movl    %eax, %es
    movl    %eax, %ss
    xorl    %eax, %eax
    movl    %eax, %fs
    movl    %eax, %gs
    # EFI programs use x87 and SSE (UEFI 2.10, section 2.3.4); MXCSR has its value of a reset.
    fninit
    movl    %ebp, %edi
    xorl    %ebp, %ebp
    call    firmware_main
3:  hlt
    jmp     3b

# Exceptions: each entry pushes an error code, where the CPU pushes none, and the vector. They run on a stack of their own, and do not
# return.
.macro vector number
    .balign 16
    .ifeq (\number - 8) * (\number - 10) * (\number - 11) * (\number - 12) * (\number - 13) * (\number - 14) * (\number - 17) * (\number - 21) * (\number - 29) * (\number - 30)
    .else
    pushq   $0
    .endif
    pushq   $\number
    jmp     exception
.endm

.balign 16
.globl exception_vectors
exception_vectors:
.altmacro
.set number, 0
.rept 32
    vector  %number
    .set number, number + 1
.endr
.noaltmacro

exception:
    movq    %rsp, %rdi
    movq    %cr2, %rsi
    call    exception_entry
4:  hlt
    jmp     4b

.section .rodata.gdt, "a", @progbits
.balign 8
gdt:
    .quad   0
    .quad   0x00af9b000000ffff  # CODE64
    .quad   0x00cf93000000ffff  # DATA: 4 GiB, flat
    .quad   0x00cf9b000000ffff  # code of 32 bits: 4 GiB, flat
gdt_end:
.globl gdtr
gdtr:
    .word   gdt_end - gdt - 1
    .quad   gdt

.section .boot.page_tables, "aw", @nobits
.balign 4096
page_map:
    .skip   4096
page_directory_pointers:
    .skip   4096
page_directories:
    .skip   4 * 4096
