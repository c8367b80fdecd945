//! riscv64: the MMU is off at the entry; all traps go to the stack for exceptions, whose end is in `sscratch`.
#![expect(unsafe_code, reason = "assembly")]

mod copies;

use core::arch::{asm, global_asm, naked_asm};
use core::mem::{offset_of, size_of};

use sandbox_abi::{BootInfo, CrashReason, CrashRecord};
use zerocopy::little_endian::{U32, U64};

use crate::runtime::boot::{STATE_LEN, boot_info};

/// The first instruction. `a0` is the address of the boot information.
#[unsafe(naked)]
#[unsafe(export_name = "_start")]
pub(in crate::runtime) unsafe extern "C" fn start() -> ! {
    naked_asm!(
        "csrw sie, zero",
        "lla t0, vmsandbox_vectors",
        "csrw stvec, t0",
        "ld t1, {fault_stack_top}(a0)",
        "csrw sscratch, t1",
        // sstatus.FS: floating-point instructions are not trapped.
        "li t2, {fs}",
        "csrs sstatus, t2",
        "csrw fcsr, zero",
        "ld t3, {mmu}(a0)",
        "sfence.vma",
        "csrw satp, t3",
        "sfence.vma",
        "fence.i",
        "ld sp, {stack_top}(a0)",
        "addi sp, sp, -{state}",
        "mv s0, zero",
        "mv ra, zero",
        "mv gp, zero",
        "mv tp, zero",
        "tail vmsandbox_main",
        fault_stack_top = const offset_of!(BootInfo, fault_stack_top),
        fs = const 1 << 13,
        mmu = const offset_of!(BootInfo, mmu),
        stack_top = const offset_of!(BootInfo, stack_top),
        state = const STATE_LEN,
    )
}

unsafe extern "C" {
    /// The trap handler.
    #[link_name = "vmsandbox_vectors"]
    pub(in crate::runtime) static VECTORS: u8;
}

global_asm!(
    ".pushsection .text.vmsandbox_vectors, \"ax\", @progbits",
    // The stack is that for exceptions, less the registers that the first part of the handler saved.
    "vmsandbox_trap:",
    "addi sp, sp, -{frame}",
    "sd zero, 0(sp)",
    "sd x1, 8(sp)",
    "sd x3, 24(sp)",
    "sd x4, 32(sp)",
    "sd x5, 40(sp)",
    "sd x6, 48(sp)",
    "sd x7, 56(sp)",
    "sd x8, 64(sp)",
    "sd x9, 72(sp)",
    "sd x10, 80(sp)",
    "sd x11, 88(sp)",
    "sd x12, 96(sp)",
    "sd x13, 104(sp)",
    "sd x14, 112(sp)",
    "sd x15, 120(sp)",
    "sd x16, 128(sp)",
    "sd x17, 136(sp)",
    "sd x18, 144(sp)",
    "sd x19, 152(sp)",
    "sd x20, 160(sp)",
    "sd x21, 168(sp)",
    "sd x22, 176(sp)",
    "sd x23, 184(sp)",
    "sd x24, 192(sp)",
    "sd x25, 200(sp)",
    "sd x26, 208(sp)",
    "sd x27, 216(sp)",
    "sd x28, 224(sp)",
    "sd x29, 232(sp)",
    "sd x30, 240(sp)",
    "sd x31, 248(sp)",
    // The stack of the program; the next trap starts at the end of this stack again.
    "addi t1, sp, {frame} + {saved}",
    "csrrw t0, sscratch, t1",
    "sd t0, 16(sp)",
    "csrr t0, sepc",
    "sd t0, {pc}(sp)",
    "csrr t0, scause",
    "sd t0, {pc} + 8(sp)",
    "csrr t0, stval",
    "sd t0, {pc} + 16(sp)",
    "csrr t0, sstatus",
    "sd t0, {pc} + 24(sp)",
    "mv s0, zero",
    "mv a0, sp",
    "call vmsandbox_exception",
    "unimp",
    ".popsection",
    frame = const size_of::<Frame>(),
    saved = const copies::SAVED,
    pc = const offset_of!(Frame, pc),
);

/// Registers as the code above saves them.
#[derive(Default)]
#[repr(C)]
pub(in crate::runtime) struct Frame {
    /// x0 to x31.
    general: [u64; 32],
    pc: u64,
    scause: u64,
    stval: u64,
    sstatus: u64,
}

const _: () =
    assert!(size_of::<Frame>() % 16 == 0 && offset_of!(Frame, sstatus) == offset_of!(Frame, pc) + 24);

const RA: usize = 1;
const SP: usize = 2;
const FP: usize = 8;

impl Frame {
    /// The record for the host.
    pub(in crate::runtime) fn record(&self, reason: CrashReason) -> CrashRecord {
        CrashRecord {
            reason,
            message_len: U32::new(0),
            pc: U64::new(self.pc),
            sp: U64::new(self.general[SP]),
            fp: U64::new(self.general[FP]),
            link: U64::new(self.general[RA]),
            fault_address: U64::new(self.stval),
            error_code: U64::new(self.scause),
            status: U64::new(self.sstatus),
            vector: U64::new(self.scause),
            general: self.general.map(U64::new),
        }
    }

    /// What happened.
    pub(in crate::runtime) fn name(&self) -> &'static str {
        match self.scause {
            0 => "misaligned instruction address",
            1 => "instruction access fault",
            2 => "illegal instruction",
            3 => "breakpoint",
            4 => "misaligned load address",
            5 => "load access fault",
            6 => "misaligned store address",
            7 => "store access fault",
            12 => "instruction page fault",
            13 => "load page fault",
            15 => "store page fault",
            cause if cause >> 63 == 1 => "interrupt",
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
        "sd x1, 8(a0)",
        "sd x2, 16(a0)",
        "sd x3, 24(a0)",
        "sd x4, 32(a0)",
        "sd x5, 40(a0)",
        "sd x6, 48(a0)",
        "sd x7, 56(a0)",
        "sd x8, 64(a0)",
        "sd x9, 72(a0)",
        "sd x10, 80(a0)",
        "sd x11, 88(a0)",
        "sd x12, 96(a0)",
        "sd x13, 104(a0)",
        "sd x14, 112(a0)",
        "sd x15, 120(a0)",
        "sd x16, 128(a0)",
        "sd x17, 136(a0)",
        "sd x18, 144(a0)",
        "sd x19, 152(a0)",
        "sd x20, 160(a0)",
        "sd x21, 168(a0)",
        "sd x22, 176(a0)",
        "sd x23, 184(a0)",
        "sd x24, 192(a0)",
        "sd x25, 200(a0)",
        "sd x26, 208(a0)",
        "sd x27, 216(a0)",
        "sd x28, 224(a0)",
        "sd x29, 232(a0)",
        "sd x30, 240(a0)",
        "sd x31, 248(a0)",
        "sd ra, {pc}(a0)",
        "ret",
        pc = const offset_of!(Frame, pc),
    )
}

/// Rings the doorbell.
#[inline]
pub(in crate::runtime) fn ring(info: &BootInfo) {
    // SAFETY: the host completes the call and changes nothing but the inbox, `a0` and `a1`. The block may access any memory, so the compiler
    // keeps no copy of the window.
    unsafe {
        asm!(
            "ecall",
            in("a7") info.doorbell.get(),
            in("a6") 0,
            inout("a0") 0_u64 => _,
            lateout("a1") _,
            options(nostack),
        );
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
        "mv s1, a0",
        "mv s2, a1",
        "2:",
        "mv a7, s1",
        "li a6, 0",
        "li a0, 0",
        "ecall",
        "jalr s2",
        "j 2b",
    )
}

/// Flushes the translations that the CPU cached.
pub(in crate::runtime) fn flush_translations() {
    // SAFETY: the page tables stay the same.
    unsafe { asm!("sfence.vma", options(nostack, preserves_flags)) };
}

/// Stops. An instruction that waits would not give the host control, so the host gets the last message again.
pub(in crate::runtime) fn halt() -> ! {
    loop {
        ring(boot_info());
    }
}
