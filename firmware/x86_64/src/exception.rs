//! Exceptions: a message, and the end.
#![expect(unsafe_code, reason = "tables of the CPU")]

use core::arch::asm;

use fw_runtime::address;

use crate::console::print;
use crate::halt::halt;

/// Number of vectors of exceptions (Intel SDM volume 3A, 6.3.1).
const VECTORS: usize = 32;
/// Distance of the entries of `entry.s`.
const ENTRY_LEN: u64 = 16;
/// Selector of 64-bit code in the firmware's GDT.
const CODE64: u64 = 0x08;
/// Selector of the task state segment in [`Tables::gdt`].
const TASK: u16 = 0x20;
/// Present interrupt gate with the stack of number 1 of the task state segment.
const GATE: u64 = 0x8e01;

/// Task state segment of 64-bit mode (SDM volume 3A, 8.7): 32-bit words, since its addresses are not aligned.
#[repr(C, align(8))]
struct Task([u32; 26]);

/// Tables that the CPU refers to from then on.
#[repr(C, align(16))]
struct Tables {
    idt: [[u64; 2]; VECTORS],
    gdt: [u64; 6],
    task: Task,
}

static mut TABLES: Tables = Tables {
    idt: [[0; 2]; VECTORS],
    // Those of `entry.s`: none, 64-bit code, data, 32-bit code; then the task state segment.
    gdt: [
        0,
        0x00af_9b00_0000_ffff,
        0x00cf_9300_0000_ffff,
        0x00cf_9b00_0000_ffff,
        0,
        0,
    ],
    task: Task([0; 26]),
};

/// What the CPU and `entry.s` push.
#[repr(C)]
struct Frame {
    vector: u64,
    error: u64,
    rip: u64,
    cs: u64,
    rflags: u64,
    rsp: u64,
}

unsafe extern "C" {
    static exception_vectors: u8;
    static __exception_stack_top: u8;
}

/// A descriptor table register.
fn register(base: u64, len: usize) -> [u8; 10] {
    let mut register = [0; 10];
    let limit = u16::try_from(len.saturating_sub(1)).unwrap_or(u16::MAX);
    register[..2].copy_from_slice(&limit.to_le_bytes());
    register[2..].copy_from_slice(&base.to_le_bytes());
    register
}

/// The lower and upper half of an address.
fn halves(addr: u64) -> [u32; 2] {
    let half = |shift: u32| u32::try_from(addr >> shift & 0xffff_ffff).unwrap_or_default();
    [half(0), half(32)]
}

/// The gate of the exception with its entry at `entry` (SDM volume 3A, figure 6-8).
fn gate(entry: u64) -> [u64; 2] {
    let low = entry & 0xffff | CODE64 << 16 | GATE << 32 | (entry >> 16 & 0xffff) << 48;
    [low, entry >> 32]
}

/// Makes exceptions print what and where, and end the firmware. Call it once.
pub(crate) fn init() {
    let tables = &raw mut TABLES;
    // SAFETY: this is the only reference; the CPU reads the tables later only.
    let tables = unsafe { &mut *tables };
    let vectors = address(&raw const exception_vectors);
    for (entry, number) in tables.idt.iter_mut().zip(0..) {
        *entry = gate(vectors + ENTRY_LEN * number);
    }
    // IST1 is at offset 36, the address of the I/O permission map, which is none, at 102.
    let [low, high] = halves(address(&raw const __exception_stack_top));
    (tables.task.0[9], tables.task.0[10]) = (low, high);
    let task_len = size_of::<Task>() as u64;
    tables.task.0[25] = u32::try_from(task_len).unwrap_or_default() << 16;
    let task = address(&raw const tables.task);
    // An available task state segment of 64-bit mode (SDM volume 3A, figure 8-4).
    tables.gdt[4] = (task_len - 1) | (task & 0xff_ffff) << 16 | 0x89 << 40 | (task >> 24 & 0xff) << 56;
    tables.gdt[5] = task >> 32;
    let gdt = register(address(&raw const tables.gdt), size_of_val(&tables.gdt));
    let idt = register(address(&raw const tables.idt), size_of_val(&tables.idt));
    // SAFETY: the table has the descriptors of the selectors in use.
    unsafe { asm!("lgdt [{}]", in(reg) &raw const gdt, options(nostack, preserves_flags)) };
    // SAFETY: the gates refer to the entries, and to a stack that nothing else uses.
    unsafe { asm!("lidt [{}]", in(reg) &raw const idt, options(nostack, preserves_flags)) };
    // SAFETY: the descriptor is that of `task`.
    unsafe { asm!("ltr {:x}", in(reg) TASK, options(nostack, preserves_flags)) };
}

/// Prints an exception.
#[unsafe(no_mangle)]
extern "C" fn exception_entry(frame: &Frame, cr2: u64) -> ! {
    print!(
        "firmware: exception {} with error code {:#x} at {:#x}:{:#x}, CR2 {cr2:#x}, RSP {:#x}, RFLAGS {:#x}",
        frame.vector, frame.error, frame.cs, frame.rip, frame.rsp, frame.rflags
    );
    halt()
}
