#![doc = include_str!("../README.md")]
#![no_std]
#![no_main]
#![expect(unsafe_code, reason = "memory and devices of the machine")]

mod registers;
mod sbi;

use core::arch::{asm, global_asm};
use core::cell::Cell;
use core::fmt::Write as _;
use core::panic::PanicInfo;

use boot_core::cpu::riscv64::State;
use boot_core::{Arch, BootProtocol, KernelFormat};
use fw_boot::Chain;
use fw_device_tree::{Hardware, Port, PortCell, Setup, boot_disks, high_place, tree_bytes};
use fw_runtime::heap::Heap;
use fw_runtime::{Console, Writer, between};
use proto_fdt::device_tree::DeviceTree;

use crate::registers::Mmio;

global_asm!(include_str!("entry.s"));
global_asm!(include_str!("start.s"));

#[global_allocator]
static HEAP: Heap = Heap::new();

/// The formats of kernels.
const FORMATS: [&dyn KernelFormat; 2] = [&fmt_pe::RISCV_IMAGE, &fmt_elf::FORMAT];
/// The boot protocols.
const PROTOCOLS: [&dyn BootProtocol; 1] = [&proto_fdt::PROTOCOL_RISCV64];

unsafe extern "C" {
    static mut image_start: u8;
    static mut __image_end: u8;
    static mut __heap_start: u8;
    static mut __heap_end: u8;

    fn start_kernel(a0: u64, a1: u64, pc: u64) -> !;
    fn move_image(to: u64, hart: u64, tree: u64) -> !;
}

/// The console: the serial port of the device tree, or else that of SBI.
struct Output;

static PORT: PortCell<Mmio> = PortCell::new();

impl Console for Output {
    fn send(&self, byte: u8) {
        match PORT.get() {
            Some(port) => port.send(byte),
            None => sbi::send(byte),
        }
    }

    fn receive(&self) -> Option<u8> {
        PORT.get()?.receive()
    }
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
    let place = if has_moved == 0 { place(tree) } else { None };
    if let Some(to) = place {
        // SAFETY: the place is free RAM, and nothing refers to the memory of the firmware.
        unsafe { move_image(to, hart, tree) }
    }
    if let Some(state) = run(tree) {
        // The tree need not say which hart the SBI firmware chose to boot with.
        // SAFETY: `run` loaded the kernel, and the firmware ends here.
        unsafe { start_kernel(hart, state.x[11], state.pc) }
    }
    print!("firmware: nothing to boot");
    halt()
}

/// Where the firmware is to be: it is loaded to the address that kernels with a fixed address are linked for.
fn place(tree: u64) -> Option<u64> {
    // SAFETY: the boot protocol names the address.
    let bytes = unsafe { tree_bytes(tree) }.ok()?;
    high_place(
        bytes,
        tree,
        between(&raw const image_start, &raw const __image_end),
    )
}

/// Loads a kernel. `None` after a message if there is none.
fn run(addr: u64) -> Option<State> {
    // SAFETY: the boot protocol names the address, and the firmware does not write there: the tree is no part of the memory it loads to.
    let bytes = unsafe { tree_bytes(addr) };
    let bytes = bytes.inspect_err(|error| print!("firmware: {error}")).ok()?;
    let tree = DeviceTree::parse(bytes);
    let tree = tree.inspect_err(|error| print!("firmware: {error}")).ok()?;
    if let Ok(Some(port)) = proto_fdt::read::serial_port(&tree) {
        // SAFETY: the tree describes the port, and addresses are not translated.
        PORT.set(unsafe { Port::new(port, Mmio) });
    }
    print!("firmware: starting");
    let hardware = Hardware::read(&tree, &mut |error| print!("firmware: {}", Chain(error)));
    let hardware = hardware
        .inspect_err(|error| print!("firmware: {}", Chain(error)))
        .ok()?;
    drop(tree);
    let setup = Setup {
        arch: Arch::Riscv64,
        formats: &FORMATS,
        protocols: &PROTOCOLS,
        own: between(&raw const image_start, &raw const __image_end),
        tree: bytes,
        registers: Mmio,
        console: &Output,
        // Caches are coherent; `start.s` orders stores before instruction fetches.
        written: |_| {},
    };
    // SAFETY: addresses are not translated, and nothing but firmware and tree is in use.
    let state = unsafe { boot_disks(&hardware, &setup) }?;
    let state = state.riscv64().cloned();
    state.inspect_err(|error| print!("firmware: {error}")).ok()
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

/// Stops the hart.
fn halt() -> ! {
    loop {
        // SAFETY: interrupts are disabled, so this only waits.
        unsafe { asm!("wfi", options(nomem, nostack, preserves_flags)) }
    }
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    print!("firmware: {info}");
    halt()
}
