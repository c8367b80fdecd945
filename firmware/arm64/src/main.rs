#![doc = include_str!("../README.md")]
#![no_std]
#![no_main]
#![expect(unsafe_code, reason = "memory and devices of the machine")]

extern crate alloc;

mod cache;
mod console;
mod halt;
mod mmu;
mod registers;
mod target;

use core::arch::global_asm;
use core::cell::Cell;
use core::fmt::Write as _;
use core::panic::PanicInfo;

use fw_device_tree::{Layout, run};
use fw_runtime::Writer;
use fw_runtime::heap::Heap;

use crate::console::Output;
use crate::halt::halt;
use crate::target::Arm64;

global_asm!(include_str!("entry.s"), PAGE_TABLES = const mmu::MAX_TABLES);
global_asm!(include_str!("start.s"));

#[global_allocator]
static HEAP: Heap = Heap::new();

unsafe extern "C" {
    static mut image_start: u8;
    static mut __heap_start: u8;
    static mut __heap_end: u8;

    fn start_kernel(x0: u64, pc: u64) -> !;
}

macro_rules! print {
    ($($arguments:tt)*) => {{
        // The console cannot fail.
        let _ = writeln!(Writer(&Output), $($arguments)*);
    }};
}

/// The entry, on the boot CPU with MMU and data cache off, with the address of the device tree.
#[unsafe(no_mangle)]
extern "C" fn firmware_main(tree: u64) -> ! {
    let (heap, end) = (&raw mut __heap_start, &raw const __heap_end);
    // SAFETY: the linker script reserves this memory for the heap, and it is added once.
    let is_added = unsafe { HEAP.add(heap, end.addr().saturating_sub(heap.addr())) };
    assert!(is_added, "the heap is too small");
    // SAFETY: the MMU is off, the boot protocol names the address, and the layout is that of the linker script.
    let state = unsafe { run(Arm64::new(), &Layout::of_image(), tree) };
    match state.as_ref().map(|state| state.aarch64()) {
        // SAFETY: `run` loaded the kernel and cleaned the caches, and the firmware ends here.
        Some(Ok(state)) => unsafe { start_kernel(state.x[0], state.pc) },
        Some(Err(error)) => print!("firmware: {error}"),
        None => print!("firmware: nothing to boot"),
    }
    halt()
}

/// Whether an exception was reported: another one would be its consequence.
struct Reported(Cell<bool>);

// SAFETY: there is one CPU, and handlers of exceptions do not return.
unsafe impl Sync for Reported {}

static REPORTED: Reported = Reported(Cell::new(false));

/// Reports an exception, which the firmware does not survive.
#[unsafe(no_mangle)]
extern "C" fn firmware_exception(vector: u64, esr: u64, elr: u64, far: u64) -> ! {
    if !REPORTED.0.replace(true) {
        let base = (&raw const image_start).addr();
        print!(
            "firmware: exception {vector}: ESR {esr:#x}, ELR {elr:#x}, FAR {far:#x}; the firmware is at {base:#x}"
        );
    }
    halt()
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    print!("firmware: {info}");
    halt()
}
