//! The guests' code. It is assembled into this program's read-only data and copied into guest memory at 0x8000_0000. It
//! runs with the MMU off, so memory is accessed with aligned loads and stores only. Every guest may use the exit page at
//! 0x0900_f000.
#![expect(unsafe_code, reason = "takes assembled code out of this program's own image")]

use std::{arch::global_asm, slice};

/// Makes a function that returns the machine code of the given lines.
macro_rules! guests {
    ($($(#[$doc:meta])* $name:ident: $($line:literal)+;)*) => {
        $(
            global_asm!(
                ".pushsection .rodata.guests, \"a\"",
                ".balign 2048",
                concat!(".globl guest_", stringify!($name), "_start, guest_", stringify!($name), "_end"),
                // Rings the doorbell of a bare machine: the call with the number in X20, or a write to the address in X21 if that is not zero.
                ".macro ring",
                "cbnz x21, 71f",
                "mov x0, x20",
                "hvc #0",
                "b 72f",
                "71: strb wzr, [x21]",
                "72:",
                ".endm",
                // The same, with ELR_EL1 and SPSR_EL1 as a rewind leaves them. Changes X9 and the condition flags.
                ".macro quick_ring",
                "cbnz x21, 73f",
                "adr x9, 75f",
                "b 74f",
                "73: adr x9, 77f",
                "74: msr ELR_EL1, x9",
                "mov x9, #0x3c5",
                "msr SPSR_EL1, x9",
                "msr NZCV, xzr",
                "cbnz x21, 76f",
                "mov x0, x20",
                "hvc #0",
                "75: b 77f",
                "76: strb wzr, [x21]",
                "77:",
                ".endm",
                concat!("guest_", stringify!($name), "_start:"),
                $($line,)+
                concat!("guest_", stringify!($name), "_end:"),
                ".purgem ring",
                ".purgem quick_ring",
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

pub(crate) use guests;

guests! {
    /// Ends with 0x64.
    exit:
        "movz x1, #0x0900, lsl #16"
        "movk x1, #0xf000"
        "movz w0, #0x1234, lsl #16"
        "movk w0, #0x5664"
        "str w0, [x1]"
        "b .";

    /// Turns the machine off with PSCI's SYSTEM_OFF.
    system_off:
        "movz w0, #0x8400, lsl #16"
        "movk w0, #0x0008"
        "hvc #0"
        "b .";

    /// Resets the machine with PSCI's SYSTEM_RESET.
    system_reset:
        "movz w0, #0x8400, lsl #16"
        "movk w0, #0x0009"
        "hvc #0"
        "b .";

    /// Ends with the PSCI version.
    psci_version:
        "movz w0, #0x8400, lsl #16"
        "hvc #0"
        "movz x1, #0x0900, lsl #16"
        "movk x1, #0xf000"
        "str w0, [x1]"
        "b .";

    /// Writes CurrentEL, DAIF, SCTLR_EL1, MPIDR_EL1, SPSel and X0 to X3 to RAM from 0x8000_8000, and ends.
    entry_state:
        "movz x9, #0x8000, lsl #16"
        "movk x9, #0x8000"
        "mrs x10, CurrentEL"
        "mrs x11, DAIF"
        "stp x10, x11, [x9], #16"
        "mrs x10, SCTLR_EL1"
        "mrs x11, MPIDR_EL1"
        "stp x10, x11, [x9], #16"
        "mrs x10, SPSel"
        "mov x11, sp"
        "stp x10, x11, [x9], #16"
        "stp x0, x1, [x9], #16"
        "stp x2, x3, [x9], #16"
        "movz x1, #0x0900, lsl #16"
        "movk x1, #0xf000"
        "str wzr, [x1]"
        "b .";

    /// Reads the page at 0x0a00_0000 in every width and writes each value plus one back where it was.
    mmio_widths:
        "movz x1, #0x0a00, lsl #16"
        "ldrb w0, [x1]"
        "add w0, w0, #1"
        "strb w0, [x1]"
        "ldrh w0, [x1, #2]"
        "add w0, w0, #1"
        "strh w0, [x1, #2]"
        "ldr w0, [x1, #4]"
        "add w0, w0, #1"
        "str w0, [x1, #4]"
        "ldr x0, [x1, #8]"
        "add x0, x0, #1"
        "str x0, [x1, #8]"
        "movz x2, #0x0900, lsl #16"
        "movk x2, #0xf000"
        "str wzr, [x2]"
        "b .";

    /// Reads the first and the last byte of the page at 0x0a00_0000, writes their sum to both, and ends with the last
    /// aligned word.
    mmio_edges:
        "movz x1, #0x0a00, lsl #16"
        "ldrb w0, [x1]"
        "ldrb w2, [x1, #0xfff]"
        "add w0, w0, w2"
        "strb w0, [x1]"
        "strb w0, [x1, #0xfff]"
        "ldr w0, [x1, #0xffc]"
        "movz x2, #0x0900, lsl #16"
        "movk x2, #0xf000"
        "str w0, [x2]"
        "b .";

    /// Writes a byte to the first byte of the exit page.
    exit_first_byte:
        "movz x1, #0x0900, lsl #16"
        "movk x1, #0xf000"
        "mov w0, #0x11"
        "strb w0, [x1]"
        "b .";

    /// Writes a byte to the last byte of the exit page.
    exit_last_byte:
        "movz x1, #0x0900, lsl #16"
        "movk x1, #0xffff"
        "mov w0, #0x22"
        "strb w0, [x1]"
        "b .";

    /// Loads two registers from the device page. The load is at 0x8000_0004.
    load_pair_from_device:
        "movz x1, #0x0a00, lsl #16"
        "ldp w2, w3, [x1, #8]"
        "b .";

    /// Stores a register to the device page and moves the address on.
    store_with_write_back_to_device:
        "movz x1, #0x0a00, lsl #16"
        "str w2, [x1, #16]!"
        "b .";

    /// Cleans and invalidates the cache where there is no RAM, where there is a device and where there is RAM, and ends
    /// with 0xcc.
    cache_maintenance:
        "movz x1, #0x0a00, lsl #16"
        "dc civac, x1"
        "dc cvac, x1"
        "movz x1, #0x4000, lsl #16"
        "dc civac, x1"
        "dc ivac, x1"
        "movz x1, #0x8000, lsl #16"
        "movk x1, #0x8000"
        "dc civac, x1"
        "ic ivau, x1"
        "movz x1, #0x8010, lsl #16"
        "dc civac, x1"
        "dsb sy"
        "movz x1, #0x0900, lsl #16"
        "movk x1, #0xf000"
        "mov w0, #0xcc"
        "str w0, [x1]"
        "b .";

    /// Writes "ok" to the console.
    console:
        "movz x1, #0x0900, lsl #16"
        "mov w0, #'o'"
        "strb w0, [x1]"
        "mov w0, #'k'"
        "strb w0, [x1]"
        "movk x1, #0xf000"
        "str wzr, [x1]"
        "b .";

    /// Exception table at the start of the code's second half: lets the GICv3 deliver the interrupt of X0, enables what
    /// X1 says (1: the serial port's receive interrupt, SPI; 2: the virtual timer, PPI), waits, and ends with the
    /// acknowledged INTID plus the received byte times 0x10000.
    interrupt:
        "b 1f"
        // The IRQ vector for EL1 with its own stack pointer is at 0x280 of a table aligned to 0x800.
        ".org guest_interrupt_start + 0x800 + 0x280"
        "mrs x9, ICC_IAR1_EL1"
        "movz x2, #0x0900, lsl #16"
        "mov w10, #0"
        "cmp x1, #1"
        "b.ne 5f"
        "ldrb w10, [x2]"
        "5: add w9, w9, w10, lsl #16"
        "movk x2, #0xf000"
        "str w9, [x2]"
        "b ."
        "1: adr x9, guest_interrupt_start + 0x800"
        "msr VBAR_EL1, x9"
        // System register interface, priority mask, group 1.
        "mov x9, #7"
        "msr ICC_SRE_EL1, x9"
        "isb"
        "mov x9, #0xff"
        "msr ICC_PMR_EL1, x9"
        "mov x9, #1"
        "msr ICC_IGRPEN1_EL1, x9"
        "isb"
        // Distributor: affinity routing and group 1.
        "movz x2, #0x0800, lsl #16"
        "mov w9, #0x12"
        "str w9, [x2]"
        // Redistributor: awake; private interrupts in group 1, with a priority, the timer's enabled.
        "movz x3, #0x0c00, lsl #16"
        "str wzr, [x3, #0x14]"
        "movz x4, #0x0c01, lsl #16"
        "mov w9, #-1"
        "str w9, [x4, #0x80]"
        "str wzr, [x4, #0x418]"
        "cmp x1, #1"
        "b.eq 2f"
        "mov w9, #1"
        "lsl w9, w9, w0"
        "str w9, [x4, #0x100]"
        "b 3f"
        // SPIs 0 to 31: group 1, edge, routed to affinity 0 (as after reset), enabled.
        "2: mov w9, #-1"
        "str w9, [x2, #0x84]"
        "mov w9, #0xaaaaaaaa"
        "str w9, [x2, #0xc08]"
        "sub w10, w0, #32"
        "mov w9, #1"
        "lsl w9, w9, w10"
        "str w9, [x2, #0x104]"
        "movz x5, #0x0900, lsl #16"
        "mov w9, #1"
        "strb w9, [x5, #1]"
        "b 4f"
        // The timer in 0x1000 ticks.
        "3: mov x9, #0x1000"
        "msr CNTV_TVAL_EL0, x9"
        "mov x9, #1"
        "msr CNTV_CTL_EL0, x9"
        "4: msr DAIFClr, #2"
        "isb"
        "6: wfi"
        "b 6b";

    /// Runs forever.
    spin:
        "b .";

    /// Waits for an interrupt that cannot come.
    halt:
        "wfi"
        "b .-4";

    /// Jumps to a place where there is no memory, with vectors there as well.
    jump_to_nowhere:
        "movz x1, #0x4000, lsl #16"
        "msr VBAR_EL1, x1"
        "isb"
        "br x1";

    /// Ends with the 32 bits at 0x8020_0000, which is behind RAM.
    read_second_slot:
        "movz x1, #0x8020, lsl #16"
        "ldr w0, [x1]"
        "movz x1, #0x0900, lsl #16"
        "movk x1, #0xf000"
        "str w0, [x1]"
        "b .";

    /// Reads the device page, writes what it reads to RAM and to the exit page.
    write_ram:
        "movz x1, #0x0a00, lsl #16"
        "ldr w0, [x1]"
        "movz x2, #0x8000, lsl #16"
        "movk x2, #0x8000"
        "str w0, [x2]"
        "movz x1, #0x0900, lsl #16"
        "movk x1, #0xf000"
        "str w0, [x1]"
        "b .";

    /// With big-endian data: stores the word 0x11223344 to RAM at 0x8000_8000 and to the device page, and ends with the
    /// word it reads back from RAM.
    big_endian:
        "movz w0, #0x1122, lsl #16"
        "movk w0, #0x3344"
        "movz x2, #0x8000, lsl #16"
        "movk x2, #0x8000"
        "str w0, [x2]"
        "movz x1, #0x0a00, lsl #16"
        "str w0, [x1]"
        "ldr w0, [x1, #4]"
        "movz x1, #0x0900, lsl #16"
        "movk x1, #0xf000"
        "strb w0, [x1]"
        "b .";

    /// The first vCPU starts X0 - 1 others at label 2 with their number as context, and waits until all have counted
    /// themselves at 0x8000_8000; each of them writes its MPIDR to the device page, counts, and turns itself off. Ends
    /// with the count.
    start_others:
        "mov x19, x0"
        "mov x20, #1"
        "movz x21, #0x8000, lsl #16"
        "movk x21, #0x8000"
        "1: cmp x20, x19"
        "b.ge 3f"
        // CPU_ON, 64-bit: target affinity (16 CPUs to an Aff1), entry, context.
        "movz w0, #0xc400, lsl #16"
        "movk w0, #0x0003"
        "and x1, x20, #0xf"
        "lsr x9, x20, #4"
        "orr x1, x1, x9, lsl #8"
        "adr x2, 2f"
        "mov x3, x20"
        "hvc #0"
        "cbnz x0, 4f"
        // One after the other: without an MMU there are no exclusive accesses to count with.
        "5: ldr w9, [x21]"
        "cmp w9, w20"
        "b.ne 5b"
        "add x20, x20, #1"
        "b 1b"
        "3: ldr w9, [x21]"
        "6: movz x1, #0x0900, lsl #16"
        "movk x1, #0xf000"
        "str w9, [x1]"
        "b ."
        "4: mov w9, w0"
        "b 6b"
        "2: movz x21, #0x8000, lsl #16"
        "movk x21, #0x8000"
        "mrs x9, MPIDR_EL1"
        "movz x1, #0x0a00, lsl #16"
        "str x9, [x1]"
        "str w0, [x21]"
        // CPU_OFF.
        "movz w0, #0x8400, lsl #16"
        "movk w0, #0x0002"
        "hvc #0"
        "b .";

    /// Makes dirty what a guest can, and ends with 2.
    dirty:
        // Vector registers.
        "mov x0, #0x300000"
        "msr CPACR_EL1, x0"
        "isb"
        "movi v0.16b, #0x11"
        "movi v15.16b, #0x22"
        "movi v31.16b, #0x33"
        "mov x0, #0x03000000"
        "msr FPCR, x0"
        "mov x0, #0x8000000"
        "msr FPSR, x0"
        // System registers.
        "movz x0, #0x8000, lsl #16"
        "msr TTBR0_EL1, x0"
        "add x0, x0, #0x1000"
        "msr TTBR1_EL1, x0"
        "msr VBAR_EL1, x0"
        "msr ELR_EL1, x0"
        "mov x0, #0x3c5"
        "msr SPSR_EL1, x0"
        "mov x0, #0x10"
        "msr TCR_EL1, x0"
        "mov x0, #0xff44"
        "msr MAIR_EL1, x0"
        "mov x0, #0x1234"
        "msr TPIDR_EL0, x0"
        "msr TPIDR_EL1, x0"
        "msr TPIDRRO_EL0, x0"
        "msr CONTEXTIDR_EL1, x0"
        "msr FAR_EL1, x0"
        "msr ESR_EL1, x0"
        "msr AFSR0_EL1, x0"
        "msr PAR_EL1, x0"
        "mov x0, #3"
        "msr CNTKCTL_EL1, x0"
        // Debug registers.
        "mov x0, #0x4000"
        "msr DBGBVR0_EL1, x0"
        "msr DBGWVR0_EL1, x0"
        "mov x0, #0x1e4"
        "msr DBGBCR0_EL1, x0"
        "msr DBGWCR0_EL1, x0"
        "msr MDCCINT_EL1, xzr"
        // Both timers, far in the future.
        "mov x0, #-1"
        "lsr x0, x0, #8"
        "msr CNTV_CVAL_EL0, x0"
        "msr CNTP_CVAL_EL0, x0"
        "mov x0, #1"
        "msr CNTV_CTL_EL0, x0"
        "msr CNTP_CTL_EL0, x0"
        // The interrupt controller: CPU interface, redistributor, distributor.
        "mov x0, #0xf0"
        "msr ICC_PMR_EL1, x0"
        "mov x0, #3"
        "msr ICC_BPR1_EL1, x0"
        "mov x0, #1"
        "msr ICC_IGRPEN1_EL1, x0"
        "isb"
        "movz x2, #0x0800, lsl #16"
        "mov w0, #0x12"
        "str w0, [x2]"
        "mov w0, #-1"
        "str w0, [x2, #0x84]"
        "str w0, [x2, #0x104]"
        "mov w0, #0xaaaaaaaa"
        "str w0, [x2, #0xc08]"
        "mov w0, #0x80808080"
        "str w0, [x2, #0x420]"
        "mov w0, #2"
        "str w0, [x2, #0x204]"
        "movz x3, #0x0c00, lsl #16"
        "str wzr, [x3, #0x14]"
        "movz x4, #0x0c01, lsl #16"
        "mov w0, #-1"
        "str w0, [x4, #0x80]"
        "str w0, [x4, #0x100]"
        "mov w0, #0x70707070"
        "str w0, [x4, #0x400]"
        "str w0, [x4, #0x41c]"
        // A software-generated interrupt to itself: it stays pending, as interrupts are masked.
        "mov x0, #1"
        "msr ICC_SGI1R_EL1, x0"
        "isb"
        "mov x0, sp"
        "sub sp, x0, #0x100"
        "mov x29, #29"
        "mov x30, #30"
        "movz x1, #0x0900, lsl #16"
        "movk x1, #0xf000"
        "mov w0, #2"
        "str w0, [x1]"
        "b .";
}
