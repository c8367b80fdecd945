//! Ways to fail. None of these functions returns, whatever the type of its result.
#![expect(unsafe_code, reason = "faults that safe code cannot have")]

use alloc::boxed::Box;
use core::arch::asm;
use core::hint::{black_box, spin_loop};
use core::{mem, ptr};

use sandbox_guest::guest_function;

/// Panics with a message.
#[guest_function]
fn panic(message: &str) {
    panic!("{message}");
}

/// A value whose text panics.
struct Unprintable;

impl core::fmt::Display for Unprintable {
    fn fmt(&self, _: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        panic!("in the middle of a text");
    }
}

/// Panics, and panics again while it reports that.
#[guest_function]
fn panic_twice() {
    panic!("first {Unprintable}");
}

/// Does not return.
#[guest_function]
fn spin() {
    loop {
        spin_loop();
    }
}

/// Reads at address `address`.
#[guest_function]
fn read(address: u64) -> u8 {
    let address = ptr::with_exposed_provenance(to_usize(address));
    // SAFETY: there is nothing at the addresses that tests pass: the exception ends the program.
    unsafe { ptr::read_volatile(address) }
}

/// Writes at address `address`.
#[guest_function]
fn write(address: u64) {
    let address = ptr::with_exposed_provenance_mut(to_usize(address));
    // SAFETY: as above.
    unsafe { ptr::write_volatile(address, 1_u8) };
}

/// Writes to its own code.
#[guest_function]
fn write_code() {
    let code: fn() = write_code;
    // SAFETY: code is not writable, so the exception ends the program.
    unsafe { ptr::write_volatile(ptr::with_exposed_provenance_mut(code as usize), 0_u8) };
}

/// Executes bytes in the heap.
#[guest_function]
fn execute_heap() {
    let code = Box::into_raw(Box::new(0_u64));
    // SAFETY: the heap is not executable, so the exception ends the program.
    let function = unsafe { mem::transmute::<*mut u64, fn()>(black_box(code)) };
    function();
}

/// Executes an undefined instruction.
#[guest_function]
fn illegal_instruction() {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: the exception ends the program.
    unsafe {
        asm!("ud2");
    }
    #[cfg(target_arch = "aarch64")]
    // SAFETY: as above.
    unsafe {
        asm!("udf 0");
    }
    #[cfg(target_arch = "riscv64")]
    // SAFETY: as above.
    unsafe {
        asm!("unimp");
    }
}

/// Uses more stack than there is.
#[guest_function]
fn overflow_stack() -> u64 {
    deeper(0)
}

fn deeper(depth: u64) -> u64 {
    let frame = black_box([depth; 100]);
    if depth == u64::MAX {
        return 0;
    }
    deeper(depth + 1) + frame[0]
}

fn to_usize(address: u64) -> usize {
    usize::try_from(address).unwrap_or_default()
}
