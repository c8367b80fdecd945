//! A sandbox guest.
#![no_std]
#![no_main]

extern crate alloc;

mod faults;

use alloc::vec::Vec;
use core::hint::{black_box, spin_loop};
use core::mem;
use core::sync::atomic::{AtomicU64, Ordering};

use sandbox_guest::{guest_function, host_function};

/// Does nothing.
#[guest_function]
fn nop() {}

/// The sum.
#[guest_function]
fn add(a: u32, b: u32) -> u32 {
    a.wrapping_add(b)
}

/// The same bytes.
#[guest_function(bytes)]
fn echo(bytes: Vec<u8>) -> Vec<u8> {
    bytes
}

/// Of the host: `value + 1`.
#[host_function]
fn increment(value: u64) -> u64;

/// Calls `increment` of the host `n` times, each with the last result.
#[guest_function]
fn host_loop(n: u64) -> u64 {
    (0..n).fold(0, |value, _| increment(value))
}

/// Panics with a message.
#[guest_function]
fn panic(message: &str) {
    panic!("{message}");
}

/// Number of calls of `count`.
static COUNT: AtomicU64 = AtomicU64::new(0);

/// The number of calls of this function since the guest started.
#[guest_function]
fn count() -> u64 {
    COUNT.fetch_add(1, Ordering::Relaxed) + 1
}

/// Does not return.
#[guest_function]
fn spin() {
    loop {
        spin_loop();
    }
}

/// Size of a page.
const PAGE: usize = 4096;

/// Memory of `pages` pages, each of which was written.
fn written(pages: u32) -> Vec<u8> {
    let len = usize::try_from(pages).unwrap_or(usize::MAX).saturating_mul(PAGE);
    let mut memory = Vec::with_capacity(len);
    for page in memory.spare_capacity_mut().chunks_mut(PAGE) {
        page[0].write(1);
    }
    memory
}

/// Writes one byte to each of `pages` pages of the heap, and returns the number.
#[guest_function]
fn dirty(pages: u32) -> u32 {
    drop(black_box(written(pages)));
    pages
}

/// The same, but the memory stays allocated.
#[guest_function]
fn keep(pages: u32) -> u32 {
    mem::forget(black_box(written(pages)));
    pages
}
