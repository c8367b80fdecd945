//! Exceptions, and accesses to any memory, for tests of the sandbox.
#![expect(
    unsafe_code,
    reason = "the functions break the rules on purpose: the host has to cope with every program"
)]

mod stores;
mod tables;

use alloc::vec::Vec;
use core::hint::black_box;
use core::{mem, ptr};

use sandbox_guest::guest_function;

/// The byte at an address.
fn read(address: usize) -> u8 {
    // SAFETY: none. Where there is no memory, the exception is what the caller asked for.
    unsafe { ptr::with_exposed_provenance::<u8>(black_box(address)).read_volatile() }
}

fn write(address: usize, byte: u8) {
    // SAFETY: none, as above.
    unsafe { ptr::with_exposed_provenance_mut::<u8>(black_box(address)).write_volatile(byte) };
}

/// The bytes at an address.
#[guest_function]
fn peek(address: usize, len: usize) -> Vec<u8> {
    (address..address + len).map(read).collect()
}

/// A hash of each of `pages` pages from `address` on.
#[guest_function]
fn hash_pages(address: usize, pages: usize) -> Vec<u64> {
    let page = |number: usize| {
        let start = address + number * 4096;
        (start..start + 4096)
            .step_by(8)
            .fold(0xcbf2_9ce4_8422_2325, |hash: u64, at| {
                // SAFETY: none, as above.
                let word: u64 = unsafe { ptr::with_exposed_provenance::<u64>(black_box(at)).read_volatile() };
                (hash ^ word).wrapping_mul(0x0100_0000_01b3).rotate_left(29)
            })
    };
    (0..pages).map(page).collect()
}

/// Writes bytes to an address.
#[guest_function]
fn poke(address: usize, bytes: &[u8]) {
    for (at, byte) in (address..).zip(bytes) {
        write(at, *byte);
    }
}

/// Keeps a copy of bytes in the heap, and returns its address.
#[guest_function]
fn remember(bytes: &[u8]) -> usize {
    ptr::from_ref(bytes.to_vec().leak())
        .cast::<u8>()
        .expose_provenance()
}

/// The address of an instruction.
#[guest_function]
fn code() -> usize {
    (execute as *const u8).expose_provenance()
}

/// Executes what is at an address.
#[guest_function]
fn execute(address: usize) {
    // SAFETY: none, as above.
    let function: extern "C" fn() = unsafe { mem::transmute(ptr::with_exposed_provenance::<u8>(address)) };
    function();
}

/// Executes an instruction that does not exist.
#[guest_function]
fn illegal() {
    tables::illegal();
}

/// Calls itself `depth` times. A call takes about 1 KiB of the stack.
#[guest_function]
fn recurse(depth: u64) -> u64 {
    descend(depth)
}

#[inline(never)]
fn descend(depth: u64) -> u64 {
    let frame = black_box([depth; 128]);
    match depth.checked_sub(1) {
        None => 0,
        Some(rest) => descend(rest) + frame[127] - rest,
    }
}

/// Makes all memory below 2 GiB readable, writable and executable by page tables of its own, and returns the address of the tables before.
#[guest_function]
fn map_all() -> usize {
    tables::map_all()
}

/// Changes the rounding mode of floating-point instructions.
#[guest_function]
fn round_up() {
    tables::round_up();
}

/// A third, which depends on the rounding mode.
#[guest_function]
fn third() -> u64 {
    (black_box(1.0_f64) / black_box(3.0_f64)).to_bits()
}
