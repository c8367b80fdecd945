#![doc = include_str!("../README.md")]
#![no_std]
#![no_main]
#![expect(unsafe_code, reason = "memory and devices of the machine")]

extern crate alloc;

mod cache;
mod mmu;
mod registers;

use core::arch::{asm, global_asm};
use core::cell::Cell;
use core::fmt::Write as _;
use core::panic::PanicInfo;

use boot_core::cpu::aarch64::State;
use boot_core::{Arch, BootProtocol, KernelFormat};
use fw_boot::Chain;
use fw_device_tree::{Hardware, Port, PortCell, Setup, boot_disks, tree_bytes};
use fw_runtime::heap::Heap;
use fw_runtime::{Console, Writer, between};
use proto_fdt::device_tree::DeviceTree;

use crate::registers::Mmio;

global_asm!(include_str!("entry.s"), PAGE_TABLES = const mmu::MAX_TABLES);
global_asm!(include_str!("start.s"));

#[global_allocator]
static HEAP: Heap = Heap::new();

/// The formats of kernels.
const FORMATS: [&dyn KernelFormat; 2] = [&fmt_pe::ARM64_IMAGE, &fmt_elf::FORMAT];
/// The boot protocols.
const PROTOCOLS: [&dyn BootProtocol; 1] = [&proto_fdt::PROTOCOL_ARM64];

unsafe extern "C" {
    static mut image_start: u8;
    static mut __image_end: u8;
    static mut __heap_start: u8;
    static mut __heap_end: u8;

    fn start_kernel(x0: u64, pc: u64) -> !;
}

/// The console: the serial port of the device tree.
struct Output;

static PORT: PortCell<Mmio> = PortCell::new();

impl Console for Output {
    fn send(&self, byte: u8) {
        if let Some(port) = PORT.get() {
            port.send(byte);
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

/// The entry, on the boot CPU with MMU and data cache off, with the address of the device tree.
#[unsafe(no_mangle)]
extern "C" fn firmware_main(tree: u64) -> ! {
    let (heap, end) = (&raw mut __heap_start, &raw const __heap_end);
    // SAFETY: the linker script reserves this memory for the heap, and it is added once.
    let is_added = unsafe { HEAP.add(heap, end.addr().saturating_sub(heap.addr())) };
    assert!(is_added, "the heap is too small");
    if let Some(state) = run(tree) {
        // SAFETY: `run` loaded the kernel and cleaned the caches, and the firmware ends here.
        unsafe { start_kernel(state.x[0], state.pc) }
    }
    print!("firmware: nothing to boot");
    halt()
}

/// Loads a kernel. `None` after a message if there is none.
fn run(addr: u64) -> Option<State> {
    // SAFETY: the boot protocol names the address, and the firmware does not write there: the tree is no part of the memory it loads to.
    let bytes = unsafe { tree_bytes(addr) };
    let bytes = bytes.inspect_err(|error| print!("firmware: {error}")).ok()?;
    let tree = DeviceTree::parse(bytes);
    let tree = tree.inspect_err(|error| print!("firmware: {error}")).ok()?;
    if let Ok(Some(port)) = proto_fdt::read::serial_port(&tree) {
        // SAFETY: the tree describes the port. The MMU is off, and later maps the registers.
        PORT.set(unsafe { Port::new(port, Mmio) });
    }
    print!("firmware: starting");
    let hardware = Hardware::read(&tree, &mut |error| print!("firmware: {}", Chain(error)));
    let hardware = hardware
        .inspect_err(|error| print!("firmware: {}", Chain(error)))
        .ok()?;
    drop(tree);
    let own = between(&raw const image_start, &raw const __image_end);
    // SAFETY: the MMU is off, and the hardware is that of the machine.
    let is_on = unsafe { mmu::enable(&hardware, own) };
    is_on
        .inspect_err(|error| print!("firmware: {}", Chain(error)))
        .ok()?;
    let setup = Setup {
        arch: Arch::Aarch64,
        formats: &FORMATS,
        protocols: &PROTOCOLS,
        own,
        tree: bytes,
        registers: Mmio,
        console: &Output,
        written: cache::clean,
    };
    // SAFETY: the MMU maps devices and RAM, and nothing but firmware and tree is in use.
    let state = unsafe { boot_disks(&hardware, &setup) }?;
    let state = state.aarch64().cloned();
    state.inspect_err(|error| print!("firmware: {error}")).ok()
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

/// Stops the CPU.
fn halt() -> ! {
    loop {
        // SAFETY: interrupts are masked, so this only waits.
        unsafe { asm!("wfi", options(nomem, nostack, preserves_flags)) }
    }
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    print!("firmware: {info}");
    halt()
}
