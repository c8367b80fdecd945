# Starts a kernel with the registers of `Registers`, whose address is in rdi.

.set CODE32, 0x18
.set EFER_LME_BIT, 8
.set MSR_EFER, 0xc0000080

.text
.code64
.globl start_64_bit
start_64_bit:
    cli
    lgdt    {GDTR}(%rdi)
    lidt    {IDTR}(%rdi)
    movq    {CR3}(%rdi), %rax
    movq    %rax, %cr3
    movq    {CR4}(%rdi), %rax
    movq    %rax, %cr4
    movq    {CR0}(%rdi), %rax
    movq    %rax, %cr0
    movl    {DS}(%rdi), %eax
    movl    %eax, %ds
    movl    %eax, %es
    movl    %eax, %ss
    movl    %eax, %fs
    movl    %eax, %gs
    pushq   $2
    popfq
    movq    {RAX}(%rdi), %rax
    movq    {RBX}(%rdi), %rbx
    movq    {RCX}(%rdi), %rcx
    movq    {RDX}(%rdi), %rdx
    movq    {RSI}(%rdi), %rsi
    movq    {RBP}(%rdi), %rbp
    movq    {RSP}(%rdi), %rsp
    movq    {R8}(%rdi), %r8
    movq    {R9}(%rdi), %r9
    movq    {R10}(%rdi), %r10
    movq    {R11}(%rdi), %r11
    movq    {R12}(%rdi), %r12
    movq    {R13}(%rdi), %r13
    movq    {R14}(%rdi), %r14
    movq    {R15}(%rdi), %r15
    movq    {RDI}(%rdi), %rdi
    # Far jump to the 64-bit offset and the selector in `target`.
    ljmpq   *start_target(%rip)

# The same for kernels that start in 32-bit protected mode without paging. The firmware is below 4 GiB.
.globl start_32_bit
start_32_bit:
    cli
    lgdt    gdtr(%rip)
    pushq   $CODE32
    leaq    1f(%rip), %rax
    pushq   %rax
    lretq
.code32
1:  movl    %cr0, %eax
    andl    $0x7fffffff, %eax
    movl    %eax, %cr0
    movl    $MSR_EFER, %ecx
    rdmsr
    btrl    $EFER_LME_BIT, %eax
    wrmsr
    movl    {CR4}(%edi), %eax
    movl    %eax, %cr4
    movl    {CR0}(%edi), %eax
    movl    %eax, %cr0
    lgdt    {GDTR}(%edi)
    lidt    {IDTR}(%edi)
    movl    {DS}(%edi), %eax
    movl    %eax, %ds
    movl    %eax, %es
    movl    %eax, %ss
    movl    %eax, %fs
    movl    %eax, %gs
    pushl   $2
    popfl
    movl    {RAX}(%edi), %eax
    movl    {RBX}(%edi), %ebx
    movl    {RCX}(%edi), %ecx
    movl    {RDX}(%edi), %edx
    movl    {RSI}(%edi), %esi
    movl    {RBP}(%edi), %ebp
    movl    {RSP}(%edi), %esp
    movl    {RDI}(%edi), %edi
    ljmp    *start_target

.code64
.bss
.balign 8
.globl start_target
start_target:                   # offset, selector; the offset has 32 bits for kernels of 32 bits
    .skip   16
