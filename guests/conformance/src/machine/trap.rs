//! Exceptions, and the serial port's interrupt through the two 8259s.
#![expect(unsafe_code, reason = "the IDT points to assembly")]

use core::arch::{asm, global_asm};
use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicU8, AtomicUsize, Ordering};

use super::port::Port;
use super::serial::Serial;
use clauses::fail;

use crate::exit;

global_asm!(include_str!("trap.s"), options(att_syntax));

const VECTORS: usize = 48;
/// Vector of IRQ 0; lower vectors are exceptions.
const IRQ_BASE: u8 = 32;
const CODE64: u64 = 0x08;

unsafe extern "C" {
    #[link_name = "vectors"]
    static HANDLERS: [u64; VECTORS];
    #[link_name = "own_gdt"]
    static GDT: [u64; 4];
}

#[repr(C, align(16))]
struct Idt(UnsafeCell<[[u64; 2]; VECTORS]>);

// SAFETY: there is one CPU, and only `init` accesses the table, once, before it enables interrupts.
unsafe impl Sync for Idt {}

static IDT: Idt = Idt(UnsafeCell::new([[0; 2]; VECTORS]));

/// Stack frame of an exception, pushed by the CPU and the assembly.
#[repr(C)]
struct Frame {
    vector: u64,
    error_code: u64,
    rip: u64,
}

/// Installs an IDT whose exceptions call [`exception_entry`].
pub(crate) fn init() {
    // SAFETY: the addresses are constant data in the assembly.
    let handlers = unsafe { HANDLERS };
    let gates = handlers.map(|address| {
        let low = (address & 0xffff) | CODE64 << 16 | 0x8e00 << 32 | (address >> 16 & 0xffff) << 48;
        [low, address >> 32]
    });
    // SAFETY: by the argument at `Sync` there is no other reference, and the CPU does not use the table yet.
    unsafe { IDT.0.get().write(gates) };
    // The entry code loaded the same GDT by its physical address, which `Phys::new` unmaps; interrupt gates need the GDT.
    let gdt = table_register((&raw const GDT).addr(), size_of::<[u64; 4]>());
    let idt = table_register(IDT.0.get().addr(), size_of::<Idt>());
    // SAFETY: both tables are initialised and static, and the GDT has the content of the current one.
    unsafe {
        asm!("lgdt [{}]", "lidt [{}]", in(reg) &raw const gdt, in(reg) &raw const idt,
            options(readonly, nostack, preserves_flags));
    }
}

/// Operand of `lgdt` and `lidt`: limit and linear address.
fn table_register(address: usize, len: usize) -> [u8; 10] {
    let mut register = [0; 10];
    let (limit, base) = register.split_at_mut(2);
    limit.copy_from_slice(&u16::try_from(len - 1).unwrap_or(u16::MAX).to_le_bytes());
    base.copy_from_slice(&address.to_le_bytes());
    register
}

#[unsafe(no_mangle)]
extern "sysv64" fn exception_entry(frame: &Frame) -> ! {
    let address: u64;
    // SAFETY: reading CR2 has no effect.
    unsafe { asm!("mov {}, cr2", out(reg) address, options(nomem, nostack, preserves_flags)) };
    fail!(
        "exception",
        "vector {} with code {:#x} at rip {:#x}, cr2 {address:#x}",
        frame.vector,
        frame.error_code,
        frame.rip;
        "none"
    );
    exit::finish()
}

/// Bytes received by the interrupt handler.
static QUEUE: [AtomicU8; 256] = [const { AtomicU8::new(0) }; 256];
static QUEUE_END: AtomicUsize = AtomicUsize::new(0);

#[unsafe(no_mangle)]
extern "sysv64" fn serial_interrupt_entry() {
    while let Some(byte) = Serial::receive() {
        let end = QUEUE_END.load(Ordering::Relaxed);
        QUEUE[end % QUEUE.len()].store(byte, Ordering::Relaxed);
        QUEUE_END.store(end + 1, Ordering::Relaxed);
    }
    PIC_MAIN.write(END_OF_INTERRUPT);
}

const PIC_MAIN: Port = Port::at(0x20);
const PIC_SECOND: Port = Port::at(0xa0);
const END_OF_INTERRUPT: u8 = 0x20;

/// Enables IRQ 4 alone and calls `each` with each received byte until it returns false.
pub(crate) fn on_serial_interrupt(mut each: impl FnMut(u8) -> bool) {
    for (pic, base, wiring) in [(PIC_MAIN, IRQ_BASE, 1 << 2), (PIC_SECOND, IRQ_BASE + 8, 2)] {
        pic.write(0x11);
        let data = pic.plus(1);
        data.write(base);
        data.write(wiring);
        data.write(0x01);
    }
    PIC_MAIN.plus(1).write(!(1 << 4));
    PIC_SECOND.plus(1).write(!0);
    Serial::interrupt_on_receive();
    // Bytes received before raised no interrupt, and on some devices never do.
    while let Some(byte) = Serial::receive() {
        if !each(byte) {
            return;
        }
    }
    let mut taken = 0;
    loop {
        while taken < QUEUE_END.load(Ordering::Relaxed) {
            let byte = QUEUE[taken % QUEUE.len()].load(Ordering::Relaxed);
            taken += 1;
            if !each(byte) {
                return;
            }
        }
        // SAFETY: the IDT is loaded. `sti` takes effect after the next instruction, so a pending interrupt ends the `hlt`. The
        // handler changes only the queue, which consists of atomics.
        unsafe { asm!("sti", "hlt", "cli") };
    }
}
