//! arm64: the MMU is off at the entry; all exceptions go to the stack for exceptions.
#![expect(unsafe_code, reason = "assembly")]

mod copies;

use core::arch::{asm, global_asm, naked_asm};
use core::mem::{offset_of, size_of};

use sandbox_abi::{BootInfo, CrashReason, CrashRecord, DoorbellKind, layout};
use zerocopy::little_endian::{U32, U64};

use crate::runtime::boot::{STATE_LEN, boot_info};

/// The first instruction. `X0` is the address of the boot information.
#[unsafe(naked)]
#[unsafe(export_name = "_start")]
pub(in crate::runtime) unsafe extern "C" fn start() -> ! {
    naked_asm!(
        "ldp x1, x2, [x0, {mmu}]",
        "ldp x3, x4, [x0, {mmu} + 16]",
        "msr mair_el1, x1",
        "msr tcr_el1, x2",
        "msr ttbr0_el1, x3",
        "msr ttbr1_el1, xzr",
        "adrp x5, vmsandbox_vectors",
        "add x5, x5, :lo12:vmsandbox_vectors",
        "msr vbar_el1, x5",
        // CPACR_EL1.FPEN: floating-point and SIMD instructions are not trapped.
        "mov x6, {fpen}",
        "msr cpacr_el1, x6",
        "isb",
        "tlbi vmalle1",
        "ic iallu",
        "dsb nsh",
        "isb",
        "msr sctlr_el1, x4",
        "isb",
        "ldr x7, [x0, {stack_top}]",
        "sub sp, x7, {state}",
        "mov x29, xzr",
        "mov x30, xzr",
        "b vmsandbox_main",
        mmu = const offset_of!(BootInfo, mmu),
        fpen = const 3 << 20,
        stack_top = const offset_of!(BootInfo, stack_top),
        state = const STATE_LEN,
    )
}

unsafe extern "C" {
    /// The vector table: 16 entries of 128 bytes.
    #[link_name = "vmsandbox_vectors"]
    pub(in crate::runtime) static VECTORS: u8;
}

// The stack pointer may be that of a stack that overflowed, so the first two registers go to system registers, which the program does not use.
global_asm!(
    ".pushsection .text.vmsandbox_vectors, \"ax\", @progbits",
    ".balign 2048",
    ".globl vmsandbox_vectors",
    "vmsandbox_vectors:",
    ".set vector, 0",
    ".rept 16",
    ".balign 128",
    "msr tpidr_el1, x0",
    "msr tpidrro_el0, x1",
    // A synchronous exception with this stack pointer.
    ".if vector == 4",
    "b vmsandbox_synchronous",
    ".else",
    "mov x1, vector",
    "b vmsandbox_fault",
    ".endif",
    ".set vector, vector + 1",
    ".endr",
    ".balign 128",
    "vmsandbox_fault:",
    "movz x0, #({boot_info} >> 16), lsl #16",
    "movk x0, #({boot_info} & 0xffff)",
    "ldr x0, [x0, {fault_stack_top}]",
    "sub x0, x0, {frame}",
    "str x1, [x0, {vector}]",
    "mrs x1, tpidrro_el0",
    "stp x2, x3, [x0, 16]",
    "mrs x2, tpidr_el1",
    "stp x2, x1, [x0]",
    "stp x4, x5, [x0, 32]",
    "stp x6, x7, [x0, 48]",
    "stp x8, x9, [x0, 64]",
    "stp x10, x11, [x0, 80]",
    "stp x12, x13, [x0, 96]",
    "stp x14, x15, [x0, 112]",
    "stp x16, x17, [x0, 128]",
    "stp x18, x19, [x0, 144]",
    "stp x20, x21, [x0, 160]",
    "stp x22, x23, [x0, 176]",
    "stp x24, x25, [x0, 192]",
    "stp x26, x27, [x0, 208]",
    "stp x28, x29, [x0, 224]",
    "mov x1, sp",
    "stp x30, x1, [x0, 240]",
    "mrs x1, elr_el1",
    "mrs x2, spsr_el1",
    "stp x1, x2, [x0, {pc}]",
    "mrs x1, esr_el1",
    "mrs x2, far_el1",
    "stp x1, x2, [x0, {pc} + 16]",
    "mov sp, x0",
    "mov x29, xzr",
    "bl vmsandbox_exception",
    "brk 0",
    ".popsection",
    boot_info = const layout::BOOT_INFO,
    fault_stack_top = const offset_of!(BootInfo, fault_stack_top),
    frame = const size_of::<Frame>(),
    vector = const offset_of!(Frame, vector),
    pc = const offset_of!(Frame, pc),
);

/// Registers as the code above saves them.
#[derive(Default)]
#[repr(C)]
pub(in crate::runtime) struct Frame {
    /// X0 to X30, SP.
    general: [u64; 32],
    pc: u64,
    spsr: u64,
    esr: u64,
    far: u64,
    vector: u64,
    reserved: u64,
}

const _: () = assert!(size_of::<Frame>() % 16 == 0 && offset_of!(Frame, far) == offset_of!(Frame, pc) + 24);

const FP: usize = 29;
const LINK: usize = 30;
const SP: usize = 31;

impl Frame {
    /// The record for the host.
    pub(in crate::runtime) fn record(&self, reason: CrashReason) -> CrashRecord {
        CrashRecord {
            reason,
            message_len: U32::new(0),
            pc: U64::new(self.pc),
            sp: U64::new(self.general[SP]),
            fp: U64::new(self.general[FP]),
            link: U64::new(self.general[LINK]),
            fault_address: U64::new(self.far),
            error_code: U64::new(self.esr),
            status: U64::new(self.spsr),
            vector: U64::new(self.vector),
            general: self.general.map(U64::new),
        }
    }

    /// What happened: by the exception class, ESR_EL1.EC.
    pub(in crate::runtime) fn name(&self) -> &'static str {
        // The entries of the table in groups of four: synchronous, IRQ, FIQ, SError.
        match self.vector % 4 {
            1 => return "IRQ",
            2 => return "FIQ",
            3 => return "SError",
            _ => {}
        }
        match self.esr >> 26 & 0x3f {
            0x00 => "undefined instruction",
            0x07 => "access to floating-point registers",
            0x0e => "illegal execution state",
            0x18 => "access to a system register",
            0x20 | 0x21 => "instruction abort",
            0x22 => "misaligned program counter",
            0x24 | 0x25 if self.esr >> 6 & 1 == 1 => "data abort at a write",
            0x24 | 0x25 => "data abort at a read",
            0x26 => "misaligned stack pointer",
            0x2c => "floating-point exception",
            0x3c => "breakpoint instruction",
            _ => "exception",
        }
    }
}

/// A record with the registers as they are at the call.
#[expect(
    clippy::inline_always,
    reason = "the frame pointer is that of the caller, whose frame still exists when the record is sent"
)]
#[inline(always)]
pub(in crate::runtime) fn registers(reason: CrashReason) -> CrashRecord {
    let mut frame = Frame::default();
    // SAFETY: it writes the registers to the frame.
    unsafe { save(&mut frame) };
    frame.record(reason)
}

/// Saves the registers of the caller.
#[unsafe(naked)]
unsafe extern "C" fn save(frame: &mut Frame) {
    naked_asm!(
        "stp x0, x1, [x0]",
        "stp x2, x3, [x0, 16]",
        "stp x4, x5, [x0, 32]",
        "stp x6, x7, [x0, 48]",
        "stp x8, x9, [x0, 64]",
        "stp x10, x11, [x0, 80]",
        "stp x12, x13, [x0, 96]",
        "stp x14, x15, [x0, 112]",
        "stp x16, x17, [x0, 128]",
        "stp x18, x19, [x0, 144]",
        "stp x20, x21, [x0, 160]",
        "stp x22, x23, [x0, 176]",
        "stp x24, x25, [x0, 192]",
        "stp x26, x27, [x0, 208]",
        "stp x28, x29, [x0, 224]",
        "mov x1, sp",
        "stp x30, x1, [x0, 240]",
        "str x30, [x0, {pc}]",
        "ret",
        pc = const offset_of!(Frame, pc),
    )
}

/// `PSTATE` of the program behind a doorbell: EL1 with its own stack pointer, all interrupts masked, no flags.
const PSTATE: u64 = 0x3c5;

/// Rings the doorbell.
///
/// A return to a snapshot ends with `ERET`. With its target in the registers before, the host has nothing to do in the middle of it.
#[inline]
pub(in crate::runtime) fn ring(info: &BootInfo) {
    let doorbell = info.doorbell.get();
    if info.doorbell_kind == DoorbellKind::MMIO {
        // SAFETY: the host completes the access and changes nothing but the inbox. The block may access any memory, so the compiler keeps no
        // copy of the window. Handlers of exceptions return only after a write, and there is none between, so nothing else uses the two registers.
        unsafe {
            asm!(
                "adr {scratch}, 2f",
                "msr elr_el1, {scratch}",
                "msr spsr_el1, {pstate}",
                "msr nzcv, xzr",
                "str wzr, [{doorbell}]",
                "2:",
                scratch = out(reg) _,
                pstate = in(reg) PSTATE,
                doorbell = in(reg) doorbell,
                options(nostack),
            );
        }
    } else {
        // SAFETY: as above. The SMC calling convention allows changes of X0 to X3 in a call of version 1.1 and of X4 to X17 in older ones.
        unsafe {
            asm!(
                "adr x9, 2f",
                "msr elr_el1, x9",
                "msr spsr_el1, x10",
                "msr nzcv, xzr",
                "hvc #0",
                "2:",
                inout("x0") doorbell => _,
                inout("x10") PSTATE => _,
                clobber_abi("C"),
                options(nostack),
            );
        }
    }
}

/// Rings the doorbell and serves the call that arrives by `serve`, which puts its result into the outbox, again and again.
///
/// The program [waits](sandbox_abi#waiting) here: the registers have the same values each time, so the host can give back those of another
/// time.
///
/// # Safety
///
/// A message is in the outbox.
pub(in crate::runtime) unsafe fn wait_for_calls(info: &BootInfo, serve: extern "C" fn()) -> ! {
    let is_mmio = info.doorbell_kind == DoorbellKind::MMIO;
    // SAFETY: it follows the calling convention of C.
    unsafe { wait(info.doorbell.get(), is_mmio.into(), PSTATE, serve) }
}

/// As [`ring`], in a loop.
#[unsafe(naked)]
unsafe extern "C" fn wait(doorbell: u64, is_mmio: u64, pstate: u64, serve: extern "C" fn()) -> ! {
    naked_asm!(
        "mov x19, x0",
        "mov x20, x1",
        "mov x21, x2",
        "mov x22, x3",
        "2:",
        "msr spsr_el1, x21",
        "msr nzcv, xzr",
        "cbnz x20, 4f",
        "adr x9, 3f",
        "msr elr_el1, x9",
        "mov x0, x19",
        "hvc #0",
        "3:",
        "blr x22",
        "b 2b",
        "4:",
        "adr x9, 5f",
        "msr elr_el1, x9",
        "str wzr, [x19]",
        "5:",
        "b 3b",
    )
}

/// Flushes the translations that the CPU cached.
pub(in crate::runtime) fn flush_translations() {
    // SAFETY: the page tables stay the same.
    unsafe {
        asm!(
            "dsb nshst",
            "tlbi vmalle1",
            "dsb nsh",
            "isb",
            options(nostack, preserves_flags)
        )
    };
}

/// Stops. An instruction that waits would not give the host control, so the host gets the last message again.
pub(in crate::runtime) fn halt() -> ! {
    loop {
        ring(boot_info());
    }
}
