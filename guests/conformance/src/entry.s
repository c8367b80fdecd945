# The entry points. Each one records the CPU state, determines the physical address of the image, checks that memory
# without file content is zero, maps the image to its virtual address and calls kernel_main there.
#
# Before that call, only this page and the memory without file content are written.

.section .head, "awx", @progbits

.set PATTERN, 0x5ea1b007        # expected value of a segment probe
.set FAULTED, 0xfa017ed0        # its value if the access faulted

.set CODE64, 0x08               # selectors of own_gdt
.set DATA,   0x10
.set CODE32, 0x18

.set PAGE, 4096
.set T_PML5,    0 * PAGE        # offsets from __tables
.set T_PML4,    1 * PAGE
.set T_ID_PDPT, 2 * PAGE        # identity-maps this page
.set T_ID_PD,   3 * PAGE
.set T_K_PDPT,  4 * PAGE        # maps the image
.set T_K_PD,    5 * PAGE
.set T_K_PT,    6 * PAGE

.set PRESENT_WRITABLE, 0x3
.set LARGE_PAGE, 0x83           # present, writable, 2 MiB

.set MULTIBOOT_MAGIC, 0x2badb002
.set MULTIBOOT2_MAGIC, 0x36d76289

.set CR0_PE_PG, 0x80000001
.set CR4_PAE, 1 << 5
.set CR4_LA57, 1 << 12
.set MSR_EFER, 0xc0000080
.set EFER_LME, 1 << 8

.globl image_start
image_start:

# 32-bit Linux entry: the first byte of the image; esi = boot_params.
# ------------------------------------------------------------------------------------------------------------------
.code32
startup_32:
    # Multiboot loaders enter the ELF32 here, too, with a magic number in eax. Linux loaders do not set eax to these values.
    cmpl    $MULTIBOOT_MAGIC, %eax
    je      multiboot_start
    cmpl    $MULTIBOOT2_MAGIC, %eax
    je      multiboot2_start
    # Position-independent 32-bit code needs a call, and so a stack: boot_params has a scratch field for this purpose. Its content
    # is restored. lea and mov do not change the flags.
    movl    %esp, %eax
    leal    0x1e8(%esi), %esp
    movl    0x1e4(%esi), %edx
    call    1f
1:  popl    %ecx
    movl    %edx, 0x1e4(%esi)
    leal    image_start - 1b(%ecx), %ecx
    movl    $PATTERN, %edx
    cmpl    %edx, pattern - image_start(%ecx)
    jne     broken_ds
    movl    ${ABI_LINUX32}, {ABI} + record - image_start(%ecx)
    # This protocol specifies ss too. It is probed here because it is replaced before the IDT is loaded.
    movl    %ss:pattern - image_start(%ecx), %edx
    movl    %edx, {PROBE_SS} + record - image_start(%ecx)
    jmp     common_32

# 64-bit Linux entry: 0x200 bytes after the first; rsi = boot_params.
# ------------------------------------------------------------------------------------------------------------------
.org 0x200
.code64
.globl startup_64
startup_64:
    movq    %rax, {RAX} + record(%rip)
    movq    %rcx, {RCX} + record(%rip)
    movq    %rdx, {RDX} + record(%rip)
    movq    %rbx, {RBX} + record(%rip)
    movq    %rsp, {RSP} + record(%rip)
    movq    %rbp, {RBP} + record(%rip)
    movq    %rsi, {RSI} + record(%rip)
    movq    %rdi, {RDI} + record(%rip)
    leaq    first_stack_top(%rip), %rsp
    pushfq
    popq    {RFLAGS} + record(%rip)
    cli
    cld
    movl    ${ABI_LINUX64}, {ABI} + record(%rip)
    leaq    image_start(%rip), %rbp
    movq    %rbp, {BASE} + record(%rip)
    movq    %cr0, %rax
    movq    %rax, {CR0} + record(%rip)
    movq    %cr3, %rax
    movq    %rax, {CR3} + record(%rip)
    movq    %cr4, %rbx
    movq    %rbx, {CR4} + record(%rip)
    movl    $MSR_EFER, %ecx
    rdmsr
    movl    %eax, {EFER} + record(%rip)
    movl    %edx, {EFER} + 4 + record(%rip)
    jmp     common_64

# CPU state at entry; see `EntryRecord`.
# ------------------------------------------------------------------------------------------------------------------
.org 0x400
.globl record
record:
    .fill   {RECORD_LEN}, 1, 0

.balign 16
.globl own_gdt
own_gdt:
    .quad   0
    .quad   0x00af9b000000ffff  # CODE64
    .quad   0x00cf93000000ffff  # DATA: 4 GiB, flat
    .quad   0x00cf9b000000ffff  # CODE32: 4 GiB, flat
own_gdt_end:

.balign 8
own_gdtr:                       # limit, base; the base is set at run time
    .word   own_gdt_end - own_gdt - 1
    .quad   0
own_idtr:
    .word   32 * 8 - 1
    .long   0
.balign 4
pattern:
    .long   PATTERN
write_slot:
    .long   0
.balign 16
    .fill   64, 1, 0
first_stack_top:
own_idt:                        # 32 gates of 32-bit code
    .fill   32 * 8, 1, 0

# Continuation of the 64-bit entry. rbp = image address, rbx = cr4; every general register is recorded.
# ------------------------------------------------------------------------------------------------------------------
.code64
common_64:
    movq    %r8, {R8} + record(%rip)
    movw    %cs, {CS} + record(%rip)
    movw    %ds, {DS} + record(%rip)
    movw    %es, {ES} + record(%rip)
    movw    %fs, {FS} + record(%rip)
    movw    %gs, {GS} + record(%rip)
    movw    %ss, {SS} + record(%rip)
    str     {TR} + record(%rip)
    sldt    {LDTR} + record(%rip)
    sgdt    {GDTR} + record(%rip)
    sidt    {IDTR} + record(%rip)

    # Finds the first nonzero eight bytes without file content, then zeroes all of them. By string instructions, because a loop
    # takes about a second on a KVM that emulates ring 0 code.
    leaq    __bss_offset(%rbp), %rdi
    movq    %rdi, %rdx
    movl    $__image_length, %ecx
    subl    $__bss_offset, %ecx
    movl    %ecx, %esi
    shrl    $3, %ecx
    xorl    %eax, %eax
    repe scasq
    movq    $-1, %rax
    je      2f
    leaq    -8(%rdi), %rax
    subq    %rbp, %rax
2:  movq    %rax, {DIRTY} + record(%rip)
    movq    %rdx, %rdi
    movl    %esi, %ecx
    xorl    %eax, %eax
    rep stosb

    leaq    __tables_offset(%rbp), %r8
    # Identity-maps the 2 MiB that contain this page.
    leaq    T_ID_PDPT + PRESENT_WRITABLE(%r8), %rax
    movq    %rbp, %rdx
    shrq    $39, %rdx
    andl    $511, %edx
    movq    %rax, T_PML4(%r8, %rdx, 8)
    leaq    T_ID_PD + PRESENT_WRITABLE(%r8), %rax
    movq    %rbp, %rdx
    shrq    $30, %rdx
    andl    $511, %edx
    movq    %rax, T_ID_PDPT(%r8, %rdx, 8)
    movq    %rbp, %rax
    shrq    $21, %rax
    movq    %rax, %rdx
    andl    $511, %edx
    shlq    $21, %rax
    orq     $LARGE_PAGE, %rax
    movq    %rax, T_ID_PD(%r8, %rdx, 8)
    # Maps the image to __virt_base: entries 511, 510 and 8 of the three upper levels.
    leaq    T_K_PDPT + PRESENT_WRITABLE(%r8), %rax
    movq    %rax, T_PML4 + 511 * 8(%r8)
    leaq    T_K_PD + PRESENT_WRITABLE(%r8), %rax
    movq    %rax, T_K_PDPT + 510 * 8(%r8)
    leaq    T_K_PT + PRESENT_WRITABLE(%r8), %rax
    movq    %rax, T_K_PD + 8 * 8(%r8)
    leaq    PRESENT_WRITABLE(%rbp), %rax
    leaq    T_K_PT(%r8), %rdi
    movl    $__image_length, %ecx
    shrl    $12, %ecx
5:  movq    %rax, (%rdi)
    addq    $PAGE, %rax
    addq    $8, %rdi
    decl    %ecx
    jnz     5b
    # Five-level paging cannot be disabled in long mode; add a PML5.
    leaq    T_PML4 + PRESENT_WRITABLE(%r8), %rax
    movq    %rax, T_PML5(%r8)
    movq    %rax, T_PML5 + 511 * 8(%r8)
    leaq    T_PML5(%r8), %rax
    testl   $CR4_LA57, %ebx
    jnz     6f
    leaq    T_PML4(%r8), %rax
6:  movq    %rax, %cr3

    leaq    own_gdt(%rip), %rax
    movq    %rax, own_gdtr + 2(%rip)
    lgdt    own_gdtr(%rip)
    pushq   $CODE64
    leaq    enter_64(%rip), %rax
    pushq   %rax
    lretq

# Common continuation: own page tables and code segment, still at the physical address.
enter_64:
    movl    $DATA, %eax
    movl    %eax, %ds
    movl    %eax, %es
    movl    %eax, %ss
    xorl    %eax, %eax
    movl    %eax, %fs
    movl    %eax, %gs
    movq    $__stack_top, %rsp
    movq    $kernel_main, %rax
    call    *%rax
7:  hlt
    jmp     7b

# PVH entry: 32-bit, ebx = start_info. No stack; the image is at its link address.
# ------------------------------------------------------------------------------------------------------------------
.code32
.globl pvh_start
pvh_start:
    movl    %esp, %eax
    movl    $__phys_base, %ecx
    jmp     8f

# PVH entry of a relocatable image. Without a stack, the call uses the magic in start_info, which is restored.
.globl pvh_start_reloc
pvh_start_reloc:
    movl    %esp, %eax
    leal    4(%ebx), %esp
    movl    (%ebx), %edx
    call    1f
1:  popl    %ecx
    movl    %edx, (%ebx)
    leal    image_start - 1b(%ecx), %ecx
8:  movl    $PATTERN, %edx
    cmpl    %edx, pattern - image_start(%ecx)
    jne     broken_ds
    movl    ${ABI_PVH}, {ABI} + record - image_start(%ecx)

    jmp     common_32

# Multiboot entries: 32-bit, eax = magic number, ebx = boot information. Without a stack, the call uses the second word of the
# boot information, which is restored. A Multiboot2 image may be relocated.
.globl multiboot_start
multiboot_start:
    movl    ${ABI_MULTIBOOT}, %edi
    jmp     1f
.globl multiboot2_start
multiboot2_start:
    movl    ${ABI_MULTIBOOT2}, %edi
1:  movl    %eax, %ebp
    movl    %esp, %eax
    leal    8(%ebx), %esp
    movl    4(%ebx), %edx
    call    1f
1:  popl    %ecx
    movl    %edx, 4(%ebx)
    leal    image_start - 1b(%ecx), %ecx
    movl    $PATTERN, %edx
    cmpl    %edx, pattern - image_start(%ecx)
    jne     broken_ds
    movl    %edi, {ABI} + record - image_start(%ecx)
    movl    %ebp, {RAX} + record - image_start(%ecx)
    # These protocols specify ss too. It is probed here because it is replaced before the IDT is loaded.
    movl    %ss:pattern - image_start(%ecx), %edx
    movl    %edx, {PROBE_SS} + record - image_start(%ecx)

# eax = esp at entry, ecx = image address; ebx, ebp, esi, edi, the segments and IF, TF, VM as at entry.
common_32:
    movl    %eax, {RSP} + record - image_start(%ecx)
    movl    %ebx, {RBX} + record - image_start(%ecx)
    movl    %ebp, {RBP} + record - image_start(%ecx)
    movl    %esi, {RSI} + record - image_start(%ecx)
    movl    %edi, {RDI} + record - image_start(%ecx)
    movl    %ecx, {BASE} + record - image_start(%ecx)
    movw    %cs, {CS} + record - image_start(%ecx)
    movw    %ds, {DS} + record - image_start(%ecx)
    movw    %es, {ES} + record - image_start(%ecx)
    movw    %fs, {FS} + record - image_start(%ecx)
    movw    %gs, {GS} + record - image_start(%ecx)
    movw    %ss, {SS} + record - image_start(%ecx)
    str     {TR} + record - image_start(%ecx)
    sldt    {LDTR} + record - image_start(%ecx)
    sgdt    {GDTR} + record - image_start(%ecx)
    sidt    {IDTR} + record - image_start(%ecx)
    movl    %cr0, %eax
    movl    %eax, {CR0} + record - image_start(%ecx)
    movl    %cr3, %eax
    movl    %eax, {CR3} + record - image_start(%ecx)
    movl    %cr4, %eax
    movl    %eax, {CR4} + record - image_start(%ecx)

    # Own stack segment, to read the flags and to handle faults of the probes.
    leal    own_gdt - image_start(%ecx), %eax
    movl    %eax, own_gdtr - image_start + 2(%ecx)
    lgdt    own_gdtr - image_start(%ecx)
    movl    $DATA, %eax
    movl    %eax, %ss
    leal    first_stack_top - image_start(%ecx), %esp
    pushfl
    popl    %eax
    movl    %eax, {RFLAGS} + record - image_start(%ecx)
    cli
    cld

    # All exceptions go to faulted_32.
    leal    faulted_32 - image_start(%ecx), %eax
    movl    %eax, %edx
    andl    $0xffff, %eax
    orl     $(CODE32 << 16), %eax
    andl    $0xffff0000, %edx
    orl     $0x8e00, %edx
    leal    own_idt - image_start(%ecx), %edi
    movl    %edi, own_idtr - image_start + 2(%ecx)
    movl    $32, %esi
1:  movl    %eax, (%edi)
    movl    %edx, 4(%edi)
    addl    $8, %edi
    decl    %esi
    jnz     1b
    lidt    own_idtr - image_start(%ecx)

    # The hidden parts of the segment registers cannot be read; accesses through them test base and rights.
    leal    1f - image_start(%ecx), %edi
    movl    %cs:pattern - image_start(%ecx), %eax
1:  movl    %eax, {PROBE_CS} + record - image_start(%ecx)
    leal    1f - image_start(%ecx), %edi
    movl    %es:pattern - image_start(%ecx), %eax
1:  movl    %eax, {PROBE_ES} + record - image_start(%ecx)
    leal    1f - image_start(%ecx), %edi
    movl    $PATTERN, %eax
    movl    %eax, %es:write_slot - image_start(%ecx)
1:  cmpl    $FAULTED, %eax
    je      1f
    movl    write_slot - image_start(%ecx), %eax
1:  movl    %eax, {PROBE_ES_WRITE} + record - image_start(%ecx)

    leal    1f - image_start(%ecx), %edi
    movl    %fs:pattern - image_start(%ecx), %eax
1:  movl    %eax, {PROBE_FS} + record - image_start(%ecx)
    leal    1f - image_start(%ecx), %edi
    movl    %gs:pattern - image_start(%ecx), %eax
1:  movl    %eax, {PROBE_GS} + record - image_start(%ecx)

    # clflush checks the limit like a load but does not access the memory at the end of 4 GiB.
    pushl   %ecx
    movl    $1, %eax
    cpuid
    popl    %ecx
    testl   $(1 << 19), %edx
    jz      9f
    leal    1f - image_start(%ecx), %edi
    movl    $PATTERN, %eax
    clflush %cs:0xffffffc0
1:  movl    %eax, {PROBE_CS_LIMIT} + record - image_start(%ecx)
    leal    1f - image_start(%ecx), %edi
    movl    $PATTERN, %eax
    clflush %ds:0xffffffc0
1:  movl    %eax, {PROBE_DS_LIMIT} + record - image_start(%ecx)
    leal    1f - image_start(%ecx), %edi
    movl    $PATTERN, %eax
    clflush %es:0xffffffc0
1:  movl    %eax, {PROBE_ES_LIMIT} + record - image_start(%ecx)

9:  movl    $DATA, %eax
    movl    %eax, %ds
    movl    %eax, %es

    # Without long mode there is no EFER.
    pushl   %ecx
    movl    $0x80000000, %eax
    cpuid
    popl    %ecx
    cmpl    $0x80000001, %eax
    jb      no_long_mode
    pushl   %ecx
    movl    $0x80000001, %eax
    cpuid
    popl    %ecx
    testl   $(1 << 29), %edx
    jz      no_long_mode
    movl    %ecx, %ebp
    movl    $MSR_EFER, %ecx
    rdmsr
    movl    %eax, {EFER} + record - image_start(%ebp)
    movl    %edx, {EFER} + 4 + record - image_start(%ebp)

    # As above, in steps of four bytes.
    leal    __bss_offset(%ebp), %edi
    movl    %edi, %edx
    movl    $__image_length, %ecx
    subl    $__bss_offset, %ecx
    movl    %ecx, %esi
    shrl    $2, %ecx
    xorl    %eax, %eax
    repe scasl
    movl    $-1, %eax
    movl    %eax, {DIRTY} + record - image_start(%ebp)
    movl    %eax, {DIRTY} + 4 + record - image_start(%ebp)
    je      2f
    leal    -4(%edi), %eax
    subl    %ebp, %eax
    movl    %eax, {DIRTY} + record - image_start(%ebp)
    movl    $0, {DIRTY} + 4 + record - image_start(%ebp)
2:  movl    %edx, %edi
    movl    %esi, %ecx
    xorl    %eax, %eax
    rep stosb

    # The same page tables as above; the upper halves of all entries are zero below 4 GiB.
    leal    __tables_offset(%ebp), %esi
    leal    T_ID_PDPT + PRESENT_WRITABLE(%esi), %eax
    movl    %eax, T_PML4(%esi)
    leal    T_ID_PD + PRESENT_WRITABLE(%esi), %eax
    movl    %ebp, %edx
    shrl    $30, %edx
    movl    %eax, T_ID_PDPT(%esi, %edx, 8)
    movl    %ebp, %eax
    shrl    $21, %eax
    movl    %eax, %edx
    andl    $511, %edx
    shll    $21, %eax
    orl     $LARGE_PAGE, %eax
    movl    %eax, T_ID_PD(%esi, %edx, 8)
    leal    T_K_PDPT + PRESENT_WRITABLE(%esi), %eax
    movl    %eax, T_PML4 + 511 * 8(%esi)
    leal    T_K_PD + PRESENT_WRITABLE(%esi), %eax
    movl    %eax, T_K_PDPT + 510 * 8(%esi)
    leal    T_K_PT + PRESENT_WRITABLE(%esi), %eax
    movl    %eax, T_K_PD + 8 * 8(%esi)
    leal    PRESENT_WRITABLE(%ebp), %eax
    leal    T_K_PT(%esi), %edi
    movl    $__image_length, %ecx
    shrl    $12, %ecx
5:  movl    %eax, (%edi)
    addl    $PAGE, %eax
    addl    $8, %edi
    decl    %ecx
    jnz     5b

    leal    T_PML4(%esi), %eax
    movl    %eax, %cr3
    movl    $CR4_PAE, %eax
    movl    %eax, %cr4
    movl    $MSR_EFER, %ecx
    movl    $EFER_LME, %eax
    xorl    %edx, %edx
    wrmsr
    movl    $CR0_PE_PG, %eax
    movl    %eax, %cr0
    pushl   $CODE64
    leal    enter_64 - image_start(%ebp), %eax
    pushl   %eax
    lretl

faulted_32:
    leal    first_stack_top - image_start(%ecx), %esp
    movl    $FAULTED, %eax
    jmp     *%edi

# Reports an early failure on the serial port, without a stack and with data accesses through cs.
broken_ds:
    leal    broken_ds_text - image_start(%ecx), %esi
    jmp     last_words
no_long_mode:
    leal    no_long_mode_text - image_start(%ecx), %esi
last_words:
    movl    $0x3f8, %edx
1:  movb    %cs:(%esi), %al
    incl    %esi
    testb   %al, %al
    jz      2f
    outb    %al, %dx
    jmp     1b
2:  movb    $0x11, %al
    outb    %al, $0xf4
3:  hlt
    jmp     3b
broken_ds_text:
    .asciz  "FAIL ds.base: found memory without the image's bytes, expected base 0 and the image in place\nconformance: 0 ok, 1 failed\n"
no_long_mode_text:
    .asciz  "FAIL cpu.long-mode: found a 32-bit CPU, expected one with long mode\nconformance: 0 ok, 1 failed\n"

.code64
.text
