//! x86_64: 64-bit mode with paging at the entry; the host's IDT refers to the table of vectors, on stacks of their own.
#![expect(unsafe_code, reason = "assembly")]

mod copies;

use core::arch::{asm, global_asm, naked_asm};
use core::mem::{offset_of, size_of};

use sandbox_abi::{BootInfo, CrashReason, CrashRecord};
use zerocopy::little_endian::{U32, U64};

use crate::runtime::boot::STATE_LEN;

/// The first instruction. `RSP` is the end of the stack less 8, where the state of the protocol is.
#[unsafe(naked)]
#[unsafe(export_name = "_start")]
pub(in crate::runtime) unsafe extern "C" fn start() -> ! {
    naked_asm!(
        "xor ebp, ebp",
        "sub rsp, {state}",
        "jmp vmsandbox_main",
        state = const STATE_LEN,
    )
}

unsafe extern "C" {
    /// 32 entries of 16 bytes, one for each vector.
    #[link_name = "vmsandbox_vectors"]
    pub(in crate::runtime) static VECTORS: u8;
}

global_asm!(
    ".pushsection .text.vmsandbox_vectors, \"ax\", @progbits",
    ".balign 16",
    ".globl vmsandbox_vectors",
    "vmsandbox_vectors:",
    ".set vector, 0",
    ".rept 32",
    ".balign 16",
    ".if vector == 14",
    "jmp vmsandbox_page_fault",
    ".else",
    // The CPU pushes an error code for these vectors only: 8, 10 to 14, 17, 21, 29, 30.
    ".if !((0x60227d00 >> vector) & 1)",
    "push 0",
    ".endif",
    "push vector",
    "jmp vmsandbox_fault",
    ".endif",
    ".set vector, vector + 1",
    ".endr",
    ".balign 16",
    "vmsandbox_fault:",
    "push r15",
    "push r14",
    "push r13",
    "push r12",
    "push r11",
    "push r10",
    "push r9",
    "push r8",
    // RSP of the program, which the CPU pushed.
    "push qword ptr [rsp + 8 * 13]",
    "push rbp",
    "push rdi",
    "push rsi",
    "push rbx",
    "push rcx",
    "push rdx",
    "push rax",
    "mov rdi, rsp",
    "cld",
    "xor ebp, ebp",
    "and rsp, -16",
    "call vmsandbox_exception",
    "ud2",
    ".popsection",
);

/// Registers as the code above saves them, in DWARF's order.
#[derive(Default)]
#[repr(C)]
pub(in crate::runtime) struct Frame {
    general: [u64; 16],
    vector: u64,
    error_code: u64,
    rip: u64,
    cs: u64,
    rflags: u64,
    rsp: u64,
    ss: u64,
}

const RBP: usize = 6;

const _: () = {
    assert!(offset_of!(Frame, rsp) == 8 * (13 + 8));
    assert!(offset_of!(Frame, rip) == 8 * 18 && size_of::<Frame>() == 8 * 23);
};

impl Frame {
    /// The record for the host.
    pub(in crate::runtime) fn record(&self, reason: CrashReason) -> CrashRecord {
        let mut general = [U64::new(0); 32];
        for (to, from) in general.iter_mut().zip(self.general) {
            to.set(from);
        }
        CrashRecord {
            reason,
            message_len: U32::new(0),
            pc: U64::new(self.rip),
            sp: U64::new(self.rsp),
            fp: U64::new(self.general[RBP]),
            link: U64::new(0),
            fault_address: U64::new(if self.vector == PAGE_FAULT { cr2() } else { 0 }),
            error_code: U64::new(self.error_code),
            status: U64::new(self.rflags),
            vector: U64::new(self.vector),
            general,
        }
    }

    /// What happened.
    pub(in crate::runtime) fn name(&self) -> &'static str {
        match self.vector {
            0 => "divide error",
            1 => "debug exception",
            3 => "breakpoint",
            5 => "bound range exceeded",
            6 => "invalid opcode",
            7 => "device not available",
            8 => "double fault",
            10 => "invalid TSS",
            11 => "segment not present",
            12 => "stack-segment fault",
            13 => "general protection fault",
            PAGE_FAULT => match (self.error_code >> 4 & 1, self.error_code >> 1 & 1) {
                (1, _) => "page fault at an instruction fetch",
                (_, 1) => "page fault at a write",
                _ => "page fault at a read",
            },
            16 => "x87 floating-point exception",
            17 => "alignment check",
            18 => "machine check",
            19 => "SIMD floating-point exception",
            _ => "exception",
        }
    }
}

const PAGE_FAULT: u64 = 14;

/// Address of the last page fault.
fn cr2() -> u64 {
    let address;
    // SAFETY: it reads a register.
    unsafe { asm!("mov {}, cr2", out(reg) address, options(nomem, nostack, preserves_flags)) };
    address
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
        "mov [rdi], rax",
        "mov [rdi + 8], rdx",
        "mov [rdi + 16], rcx",
        "mov [rdi + 24], rbx",
        "mov [rdi + 32], rsi",
        "mov [rdi + 40], rdi",
        "mov [rdi + 48], rbp",
        "lea rax, [rsp + 8]",
        "mov [rdi + 56], rax",
        "mov [rdi + {rsp}], rax",
        "mov [rdi + 64], r8",
        "mov [rdi + 72], r9",
        "mov [rdi + 80], r10",
        "mov [rdi + 88], r11",
        "mov [rdi + 96], r12",
        "mov [rdi + 104], r13",
        "mov [rdi + 112], r14",
        "mov [rdi + 120], r15",
        "mov rax, [rsp]",
        "mov [rdi + {rip}], rax",
        "pushfq",
        "pop qword ptr [rdi + {rflags}]",
        "ret",
        rsp = const offset_of!(Frame, rsp),
        rip = const offset_of!(Frame, rip),
        rflags = const offset_of!(Frame, rflags),
    )
}

/// Rings the doorbell.
#[inline]
pub(in crate::runtime) fn ring(info: &BootInfo) {
    // SAFETY: the host completes the access and changes nothing but the inbox. The block may access any memory, so the compiler keeps no
    // copy of the window.
    unsafe {
        asm!("out dx, eax", in("rdx") info.doorbell.get(), in("eax") 0, options(nostack, preserves_flags));
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
    // SAFETY: it follows the calling convention of C.
    unsafe { wait(info.doorbell.get(), serve) }
}

#[unsafe(naked)]
unsafe extern "C" fn wait(doorbell: u64, serve: extern "C" fn()) -> ! {
    naked_asm!(
        "mov rbx, rdi",
        "mov r12, rsi",
        "sub rsp, 8",
        "2:",
        "mov edx, ebx",
        "xor eax, eax",
        "out dx, eax",
        "call r12",
        "jmp 2b",
    )
}

/// Flushes the translations that the CPU cached.
pub(in crate::runtime) fn flush_translations() {
    // SAFETY: the page tables stay the same.
    unsafe { asm!("mov {0}, cr3", "mov cr3, {0}", out(reg) _, options(nostack, preserves_flags)) };
}

/// Stops.
pub(in crate::runtime) fn halt() -> ! {
    loop {
        // SAFETY: interrupts are off, so the host gets control.
        unsafe { asm!("hlt", options(nomem, nostack, preserves_flags)) };
    }
}
