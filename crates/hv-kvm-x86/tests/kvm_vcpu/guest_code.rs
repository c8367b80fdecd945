//! The guests' code. It is assembled into this program's read-only data and copied into guest memory at 0x8000, so it
//! names its own places relative to that address.
#![expect(unsafe_code, reason = "takes assembled code out of this program's own image")]

use std::{arch::global_asm, slice};

/// Makes a function that returns the machine code of the given lines. Every guest may use `EXIT`, the debug-exit port.
macro_rules! guests {
    ($($(#[$doc:meta])* $name:ident, $bits:literal: $($line:literal)+;)*) => {
        $(
            global_asm!(
                ".pushsection .rodata.guests, \"a\"",
                concat!(".code", $bits),
                concat!(".globl guest_", stringify!($name), "_start, guest_", stringify!($name), "_end"),
                concat!("guest_", stringify!($name), "_start:"),
                $($line,)+
                concat!("guest_", stringify!($name), "_end:"),
                ".code64",
                ".popsection",
            );

            $(#[$doc])*
            pub(crate) fn $name() -> &'static [u8] {
                unsafe extern "C" {
                    #[link_name = concat!("guest_", stringify!($name), "_start")]
                    static START: u8;
                    #[link_name = concat!("guest_", stringify!($name), "_end")]
                    static END: u8;
                }
                let (start, end) = (&raw const START, &raw const END);
                // SAFETY: both symbols are in the same section of this program, the first before the second, with
                // initialised bytes between them that nobody writes.
                unsafe { slice::from_raw_parts(start, end.addr() - start.addr()) }
            }
        )*
    };
}

guests! {
    /// Ends with 0x64 from 64-bit mode.
    long_exit, "64":
        "mov eax, 0x12345664"
        "mov edx, 0xf4"
        "out dx, eax"
        "hlt";

    /// Ends with 0x32 from 32-bit mode.
    protected_exit, "32":
        "mov eax, 0x12345632"
        "mov edx, 0xf4"
        "out dx, eax"
        "hlt";

    /// Ends with 0x16 from real mode.
    real_exit, "16":
        "mov eax, 0x12345616"
        "mov dx, 0xf4"
        "out dx, eax"
        "hlt";

    /// Reads port 0x500 byte-, word- and doubleword-wise and writes each value plus one back; then copies eight words
    /// through memory with string instructions.
    pio_echo, "64":
        "mov edx, 0x500"
        "in al, dx"
        "inc al"
        "out dx, al"
        "in ax, dx"
        "inc ax"
        "out dx, ax"
        "in eax, dx"
        "inc eax"
        "out dx, eax"
        "mov edi, 0xa000"
        "mov ecx, 8"
        "rep insw"
        "mov esi, 0xa000"
        "mov ecx, 8"
        "rep outsw"
        "mov edx, 0xf4"
        "xor eax, eax"
        "out dx, al"
        "hlt";

    /// Reads the first and the last byte of the page at 0xd0000000, writes their sum to both, and reads eight bytes.
    mmio_edges, "64":
        "mov ebx, 0xd0000000"
        "movzx eax, byte ptr [rbx]"
        "movzx ecx, byte ptr [rbx + 0xfff]"
        "add eax, ecx"
        "mov byte ptr [rbx], al"
        "mov byte ptr [rbx + 0xfff], al"
        "mov rax, qword ptr [rbx + 8]"
        "mov edx, 0xf4"
        "out dx, eax"
        "hlt";

    /// Reads four bytes of which the last two lie on the next page.
    mmio_straddle, "64":
        "mov ebx, 0xd0000ffe"
        "mov eax, dword ptr [rbx]"
        "mov edx, 0xf4"
        "out dx, eax"
        "hlt";

    /// Writes a code to the exit page at 0xd0000000.
    exit_page, "64":
        "mov ebx, 0xd0000ffc"
        "mov dword ptr [rbx], 0xc0de"
        "hlt";

    /// Writes "ok" to the console.
    console, "64":
        "mov edx, 0x3f8"
        "mov al, 'o'"
        "out dx, al"
        "mov al, 'k'"
        "out dx, al"
        "mov edx, 0xf4"
        "xor eax, eax"
        "out dx, al"
        "hlt";

    /// Sets up the PIC with vectors from 0x20, lets the serial port interrupt when it receives, waits, and ends with
    /// the byte it received.
    serial_irq, "64":
        // IDT entry 0x24 at 0x9240: the handler, 64-bit code segment, present interrupt gate.
        "lea rax, [rip + 3f]"
        "mov ebx, 0x9240"
        "mov word ptr [rbx], ax"
        "mov word ptr [rbx + 2], 8"
        "mov word ptr [rbx + 4], 0x8e00"
        "shr rax, 16"
        "mov word ptr [rbx + 6], ax"
        "mov qword ptr [rbx + 8], 0"
        // IDTR: limit 0xfff, base 0x9000.
        "mov ebx, 0xa000"
        "mov word ptr [rbx], 0xfff"
        "mov qword ptr [rbx + 2], 0x9000"
        "lidt [rbx]"
        // 8259: start, vectors 0x20, slave on line 2, 8086 mode, all but line 4 masked.
        "mov al, 0x11"
        "out 0x20, al"
        "mov al, 0x20"
        "out 0x21, al"
        "mov al, 4"
        "out 0x21, al"
        "mov al, 1"
        "out 0x21, al"
        "mov al, 0xef"
        "out 0x21, al"
        // 16550: interrupt when data was received.
        "mov edx, 0x3f9"
        "mov al, 1"
        "out dx, al"
        "sti"
        "2: hlt"
        "jmp 2b"
        "3: mov edx, 0x3f8"
        "xor eax, eax"
        "in al, dx"
        "mov edx, 0xf4"
        "out dx, eax"
        "hlt";

    /// Lets the timer interrupt, waits, and ends with 0x71.
    timer_irq, "64":
        "lea rax, [rip + 3f]"
        "mov ebx, 0x9200"
        "mov word ptr [rbx], ax"
        "mov word ptr [rbx + 2], 8"
        "mov word ptr [rbx + 4], 0x8e00"
        "shr rax, 16"
        "mov word ptr [rbx + 6], ax"
        "mov qword ptr [rbx + 8], 0"
        "mov ebx, 0xa000"
        "mov word ptr [rbx], 0xfff"
        "mov qword ptr [rbx + 2], 0x9000"
        "lidt [rbx]"
        "mov al, 0x11"
        "out 0x20, al"
        "mov al, 0x20"
        "out 0x21, al"
        "mov al, 4"
        "out 0x21, al"
        "mov al, 1"
        "out 0x21, al"
        "mov al, 0xfe"
        "out 0x21, al"
        // 8254: channel 0, low then high byte, rate generator, divider 0x400.
        "mov al, 0x34"
        "out 0x43, al"
        "xor eax, eax"
        "out 0x40, al"
        "mov al, 4"
        "out 0x40, al"
        "sti"
        "2: hlt"
        "jmp 2b"
        "3: mov edx, 0xf4"
        "mov eax, 0x71"
        "out dx, eax"
        "hlt";

    /// Asks the keyboard controller for a reset, after waiting for its input buffer to be empty.
    i8042_reset, "64":
        "2: in al, 0x64"
        "test al, 2"
        "jnz 2b"
        "mov al, 0xfe"
        "out 0x64, al"
        "3: jmp 3b";

    /// Raises an exception that cannot be delivered.
    triple_fault, "64":
        "mov ebx, 0xa000"
        "mov qword ptr [rbx], 0"
        "mov qword ptr [rbx + 8], 0"
        "lidt [rbx]"
        "ud2";

    /// Writes to port 0x500 forever, with 0 to 255 rounds of a loop between two writes.
    leave_and_spin, "64":
        "mov edx, 0x500"
        "xor ebx, ebx"
        "2: out dx, al"
        "inc bl"
        "movzx ecx, bl"
        "3: sub ecx, 1"
        "ja 3b"
        "jmp 2b";

    /// Runs forever.
    spin, "64":
        "2: jmp 2b";

    /// Waits for an interrupt that cannot come.
    halt, "64":
        "cli"
        "2: hlt"
        "jmp 2b";

    /// Jumps to a place where there is no memory.
    jump_to_nowhere, "64":
        "mov ebx, 0xd0000000"
        "jmp rbx";

    /// Has a device address compared and exchanged by an instruction that no KVM emulates. It starts 7 bytes in.
    exchange_on_device, "64":
        "mov ebx, 0xd0000000"
        "xor eax, eax"
        "lock cmpxchg16b xmmword ptr [rbx]"
        "hlt";

    /// Ends with what it finds at 2 MiB.
    read_second_slot, "64":
        "mov ebx, 0x200000"
        "mov eax, dword ptr [rbx]"
        "mov edx, 0xf4"
        "out dx, eax"
        "hlt";

    /// Reads the first and the last word of the ROM area, writes 0x12345678 to the BIOS and reads it back; ends with the values
    /// that it read, combined by AND.
    rom, "64":
        "mov ebx, 0xc0000"
        "mov eax, dword ptr [rbx]"
        "and eax, dword ptr [rbx + 0x3fffc]"
        "mov dword ptr [rbx + 0x30000], 0x12345678"
        "and eax, dword ptr [rbx + 0x30000]"
        "mov edx, 0xf4"
        "out dx, eax"
        "hlt";

    /// Writes to RAM once a port has been read: port 0x500, then 0xa000, then the exit.
    write_ram, "64":
        "mov edx, 0x500"
        "in eax, dx"
        "mov ebx, 0xa000"
        "mov dword ptr [rbx], eax"
        "mov edx, 0xf4"
        "out dx, eax"
        "hlt";

    /// Writes CPUID leaf after leaf to port 0x500: leaf and subleaf are read from there first; a leaf of all ones ends.
    cpuid, "64":
        "2: mov edx, 0x500"
        "in eax, dx"
        "cmp eax, -1"
        "je 3f"
        "mov esi, eax"
        "in eax, dx"
        "mov ecx, eax"
        "mov eax, esi"
        "cpuid"
        "mov esi, edx"
        "mov edx, 0x500"
        "out dx, eax"
        "mov eax, ebx"
        "out dx, eax"
        "mov eax, ecx"
        "out dx, eax"
        "mov eax, esi"
        "out dx, eax"
        "jmp 2b"
        "3: mov edx, 0xf4"
        "out dx, al"
        "hlt";

    /// Writes to port 0x500: MTRR_DEF_TYPE, MISC_ENABLE, LVT LINT0, LVT LINT1.
    firmware_state, "64":
        "mov ecx, 0x2ff"
        "rdmsr"
        "mov edx, 0x500"
        "out dx, eax"
        "mov ecx, 0x1a0"
        "rdmsr"
        "mov edx, 0x500"
        "out dx, eax"
        "mov ebx, 0xfee00000"
        "mov eax, dword ptr [rbx + 0x350]"
        "out dx, eax"
        "mov eax, dword ptr [rbx + 0x360]"
        "out dx, eax"
        "mov edx, 0xf4"
        "out dx, al"
        "hlt";

    /// In every segment-free register its own number, and the rest of what a guest can make dirty without help.
    dirty, "64":
        "mov rax, 0x1111111111111111"
        "mov dr0, rax"
        "mov dr1, rax"
        "mov dr2, rax"
        "mov dr3, rax"
        "mov cr2, rax"
        "mov eax, 0x5"
        "mov cr8, rax"
        // STAR, LSTAR, SYSCALL mask, KERNEL_GS_BASE, SYSENTER_CS, PAT, TSC_AUX have values of their own.
        "mov ecx, 0xc0000081"
        "mov eax, 0x11111111"
        "mov edx, 0x22222222"
        "wrmsr"
        "mov ecx, 0xc0000082"
        "xor edx, edx"
        "wrmsr"
        "mov ecx, 0xc0000084"
        "wrmsr"
        "mov ecx, 0xc0000102"
        "wrmsr"
        "mov ecx, 0x174"
        "wrmsr"
        "mov ecx, 0x277"
        "mov eax, 0x00070406"
        "mov edx, 0x00070406"
        "wrmsr"
        // KVM's clock and its count of stolen time, both in RAM.
        "mov ecx, 0x4b564d01"
        "mov eax, 0xa041"
        "xor edx, edx"
        "wrmsr"
        "mov ecx, 0x4b564d03"
        "mov eax, 0xa081"
        "wrmsr"
        // Local APIC: spurious vector, task priority, timer with a count.
        "mov ebx, 0xfee00000"
        "mov dword ptr [rbx + 0xf0], 0x1ff"
        "mov dword ptr [rbx + 0x320], 0x20030"
        "mov dword ptr [rbx + 0x380], 0x7fffffff"
        "mov dword ptr [rbx + 0x350], 0x10000"
        // And then it goes into its x2APIC mode, which moves its registers.
        "mov ecx, 0x1b"
        "rdmsr"
        "or eax, 0xc00"
        "wrmsr"
        "mov rax, 2"
        "mov rcx, 3"
        "mov rbx, 4"
        "mov rsi, 5"
        "mov rdi, 6"
        "mov rbp, 7"
        "mov r8, 8"
        "mov r9, 9"
        "mov r10, 10"
        "mov r11, 11"
        "mov r12, 12"
        "mov r13, 13"
        "mov r14, 14"
        "mov r15, 15"
        "mov edx, 0xf4"
        "std"
        "out dx, al"
        "hlt";

    /// Real-mode code for every vCPU of a machine. The first sends INIT and SIPI to the others and waits until all of
    /// them have counted themselves; each of the others counts and stops. The count is at 0xa000, and how many are
    /// expected at 0xa004. 32-bit addresses reach the local APIC through a flat DS, which the first vCPU has.
    start_others, "64":
        "mov ebx, 0xfee00000"
        // The APIC must be enabled by software.
        "mov dword ptr [rbx + 0xf0], 0x1ff"
        // INIT to all but self, then SIPI with the page of `secondary`: 0xb000.
        "mov dword ptr [rbx + 0x300], 0xc4500"
        "mov dword ptr [rbx + 0x300], 0xc460b"
        "mov ebx, 0xa000"
        "2: pause"
        "mov eax, dword ptr [rbx]"
        "cmp eax, dword ptr [rbx + 4]"
        "jne 2b"
        "mov edx, 0xf4"
        "out dx, eax"
        "hlt";

    /// What the others do, in real mode at 0xb000: tell port 0x500 the APIC id, count, stop.
    secondary, "16":
        "mov eax, 1"
        "cpuid"
        "shr ebx, 24"
        "mov eax, ebx"
        "mov dx, 0x500"
        "out dx, al"
        "xor ax, ax"
        "mov ds, ax"
        "lock inc dword ptr [0xa000]"
        "cli"
        "2: hlt"
        "jmp 2b";

    /// Bare: rings with 0, 1, 2, …
    ring, "64":
        "xor eax, eax"
        "2: out 0x6c, eax"
        "inc eax"
        "jmp 2b";

    /// Bare: rings after a breakpoint instruction, with EAX, the low half of XMM3, and -1.
    breakpoint, "64":
        "int3"
        "out 0x6c, eax"
        "movd eax, xmm3"
        "out 0x6c, eax"
        "mov eax, -1"
        "out 0x6c, eax"
        "hlt";

    /// Bare: writes to page 3 of the memory at 0x10000, reads from it, and rings.
    watched, "64":
        "mov ebx, 0x13008"
        "mov dword ptr [rbx], 1"
        "mov eax, dword ptr [rbx]"
        "out 0x6c, eax"
        "hlt";

    /// Bare: writes across the end of page 0 of the memory at 0x10000, and to pages 64 and 129, and rings; again and again.
    write_pages, "64":
        "2: mov ebx, 0x10ffe"
        "mov dword ptr [rbx], 0x11111111"
        "mov ebx, 0x50000"
        "mov byte ptr [rbx], 1"
        "mov ebx, 0x91fff"
        "mov byte ptr [rbx], 1"
        "out 0x6c, eax"
        "jmp 2b";

    /// Bare: writes to its own code and to 0xc000, and rings with what it reads there.
    write_read_only, "64":
        "mov ebx, 0x8800"
        "mov dword ptr [rbx], 0x12345678"
        "mov eax, dword ptr [rbx]"
        "out 0x6c, eax"
        "mov ebx, 0xc000"
        "mov dword ptr [rbx], 0x12345678"
        "mov eax, dword ptr [rbx]"
        "out 0x6c, eax"
        "hlt";

    /// Bare: rings with 1, changes all that it can without a fault, and rings with 2.
    ring_and_dirty, "64":
        "mov eax, 1"
        "out 0x6c, eax"
        "mov rax, 0x1111111111111111"
        "mov dr0, rax"
        "mov dr3, rax"
        "mov cr2, rax"
        "mov eax, 0x5"
        "mov cr8, rax"
        // Another root of the page tables.
        "mov eax, 0xb000"
        "mov cr3, rax"
        // STAR, LSTAR, SYSCALL mask, KERNEL_GS_BASE, SYSENTER_CS, PAT.
        "mov ecx, 0xc0000081"
        "mov eax, 0x11111111"
        "mov edx, 0x22222222"
        "wrmsr"
        "mov ecx, 0xc0000082"
        "xor edx, edx"
        "wrmsr"
        "mov ecx, 0xc0000084"
        "wrmsr"
        "mov ecx, 0xc0000102"
        "wrmsr"
        "mov ecx, 0x174"
        "wrmsr"
        "mov ecx, 0x277"
        "mov eax, 0x00070404"
        "mov edx, 0x00070406"
        "wrmsr"
        // The base of GS, by SWAPGS.
        "swapgs"
        // Its own interrupt table.
        "mov ebx, 0x9100"
        "lidt [rbx]"
        "mov rcx, 3"
        "mov rbx, 4"
        "mov rsi, 5"
        "mov rdi, 6"
        "mov rbp, 7"
        "mov r8, 8"
        "mov r15, 15"
        "std"
        "mov eax, 2"
        "out 0x6c, eax"
        "hlt";

    /// Bare: rings with 1. If the word at 0x9000 is zero, reads RAM through a page of its own making at 0xc0000000, takes the page away
    /// without a flush and rings with 2. Otherwise rings with what it reads there.
    stale_translation, "64":
        "mov eax, 1"
        "out 0x6c, eax"
        "mov ebx, 0x9000"
        "mov ecx, 0xc0008000"
        "mov esi, 0x6000"
        "cmp dword ptr [rbx], 0"
        "jne 2f"
        "mov rdi, qword ptr [rsi]"
        "mov qword ptr [rsi], 0xe3"
        "mov eax, dword ptr [rcx]"
        "mov qword ptr [rsi], rdi"
        "mov eax, 2"
        "out 0x6c, eax"
        "2: mov eax, dword ptr [rcx]"
        "out 0x6c, eax"
        "hlt";

    /// Bare: rings with 1, and writes two bytes to port 0x500 by one instruction.
    ring_and_string, "64":
        "mov eax, 1"
        "out 0x6c, eax"
        "mov esi, 0x10000"
        "mov ecx, 2000"
        "mov edx, 0x500"
        "rep outsb"
        "mov eax, 2"
        "out 0x6c, eax"
        "hlt";

    /// Bare: rings with 1, with the high half of its time stamp counter, and, after it has moved the counter, with the high half again.
    move_clock, "64":
        "mov eax, 1"
        "out 0x6c, eax"
        "rdtsc"
        "mov eax, edx"
        "out 0x6c, eax"
        "mov ecx, 0x10"
        "xor eax, eax"
        "mov edx, 0x40000000"
        "wrmsr"
        "rdtsc"
        "mov eax, edx"
        "out 0x6c, eax"
        "hlt";

    /// Bare: rings with 1, and asks KVM to write the system time to 0x10000.
    system_time, "64":
        "mov eax, 1"
        "out 0x6c, eax"
        "mov ecx, 0x4b564d01"
        "mov eax, 0x10001"
        "xor edx, edx"
        "wrmsr"
        "mov eax, 2"
        "out 0x6c, eax"
        "hlt";

    /// Bare: what is no doorbell: another width, another port, a read.
    no_ring, "64":
        "out 0x6c, al"
        "out 0x6d, eax"
        "in eax, 0x6c"
        "out 0x6c, eax"
        "hlt";

    /// Bare: rings with EBX, ECX and EDX of the leaf of hypervisors, and with EAX of that of KVM's features.
    bare_cpuid, "64":
        "mov eax, 0x40000000"
        "cpuid"
        "mov eax, ebx"
        "out 0x6c, eax"
        "mov eax, ecx"
        "out 0x6c, eax"
        "mov eax, edx"
        "out 0x6c, eax"
        "mov eax, 0x40000001"
        "cpuid"
        "out 0x6c, eax"
        "hlt";
}
