#![doc = include_str!("../README.md")]
#![no_std]
#![no_main]
#![expect(unsafe_code, reason = "memory and devices of the machine")]

extern crate alloc;

mod console;
mod halt;
mod paging;
mod registers;
mod sbi;
mod target;

use core::arch::global_asm;
use core::cell::Cell;
use core::fmt::Write as _;
use core::panic::PanicInfo;

use fw_device_tree::{Layout, high_place, run};
use fw_runtime::Writer;
use fw_runtime::heap::Heap;

use crate::console::Output;
use crate::halt::halt;
use crate::target::Riscv64;

global_asm!(include_str!("entry.s"), PAGE_TABLES = const paging::MAX_TABLES);
global_asm!(include_str!("start.s"));

#[global_allocator]
static HEAP: Heap = Heap::new();

unsafe extern "C" {
    static mut image_start: u8;
    static mut __heap_start: u8;
    static mut __heap_end: u8;

    fn start_kernel(a0: u64, a1: u64, pc: u64) -> !;
    fn move_image(to: u64, hart: u64, tree: u64) -> !;
}

macro_rules! print {
    ($($arguments:tt)*) => {{
        // The console cannot fail.
        let _ = writeln!(Writer(&Output), $($arguments)*);
    }};
}

/// The entry, on the boot hart in S-mode, with the id of the hart and the address of the device tree; `has_moved` is 0 where the firmware
/// was loaded.
#[unsafe(no_mangle)]
extern "C" fn firmware_main(hart: u64, tree: u64, has_moved: u64) -> ! {
    let (heap, end) = (&raw mut __heap_start, &raw const __heap_end);
    // SAFETY: the linker script reserves this memory for the heap, and it is added once.
    let is_added = unsafe { HEAP.add(heap, end.addr().saturating_sub(heap.addr())) };
    assert!(is_added, "the heap is too small");
    let own = Layout::of_image().whole();
    let place = if has_moved == 0 {
        // SAFETY: the boot protocol names the address, and nothing writes to the tree.
        unsafe { high_place(tree, own) }
    } else {
        None
    };
    if let Some(to) = place {
        // SAFETY: the place is free RAM, and nothing refers to the memory of the firmware.
        unsafe { move_image(to, hart, tree) }
    }
    // SAFETY: addresses are not translated, the boot protocol names the address, and the layout is that of the linker script.
    let state = unsafe { run(Riscv64::new(hart), &Layout::of_image(), tree) };
    match state.as_ref().map(|state| state.riscv64()) {
        // The tree need not say which hart the SBI firmware chose to boot with.
        // SAFETY: `run` loaded the kernel, and the firmware ends here.
        Some(Ok(state)) => unsafe { start_kernel(hart, state.x[11], state.pc) },
        Some(Err(error)) => print!("firmware: {error}"),
        None => print!("firmware: nothing to boot"),
    }
    halt()
}

/// Whether a trap was reported: another one would be its consequence.
struct Reported(Cell<bool>);

// SAFETY: there is one hart, and handlers of traps do not return.
unsafe impl Sync for Reported {}

static REPORTED: Reported = Reported(Cell::new(false));

/// Reports a trap, which the firmware does not survive.
#[unsafe(no_mangle)]
extern "C" fn firmware_exception(scause: u64, sepc: u64, stval: u64) -> ! {
    if !REPORTED.0.replace(true) {
        let base = (&raw const image_start).addr();
        print!(
            "firmware: trap: scause {scause:#x}, sepc {sepc:#x}, stval {stval:#x}; the firmware is at {base:#x}"
        );
    }
    halt()
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    print!("firmware: {info}");
    halt()
}
