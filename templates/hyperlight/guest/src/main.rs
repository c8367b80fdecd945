//! Guest program of Hyperlight with the functions of `guests/sandbox/demo` that `cargo xtask bench sandbox` calls.
#![no_std]
#![no_main]

extern crate alloc;

use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::hint::black_box;

use hyperlight_guest_bin::error::Result;
use hyperlight_guest_bin::{guest_function, host_function};

/// Size of a page in bytes.
const PAGE: usize = 4096;

#[host_function("increment")]
fn increment(value: u64) -> Result<u64>;

#[guest_function("nop")]
fn nop() -> Result<()> {
    Ok(())
}

/// Calls the host `calls` times.
#[guest_function("host_loop")]
fn host_loop(calls: u64) -> Result<u64> {
    let mut value = 0;
    for _ in 0..calls {
        value = increment(value)?;
    }
    Ok(value)
}

#[guest_function("echo")]
fn echo(bytes: Vec<u8>) -> Result<Vec<u8>> {
    Ok(bytes)
}

/// Writes a byte of each of `pages` pages of the heap.
#[guest_function("dirty")]
fn dirty(pages: u32) -> Result<u32> {
    let mut memory: Vec<u8> = Vec::with_capacity(pages as usize * PAGE);
    for page in memory.spare_capacity_mut().chunks_mut(PAGE) {
        page[0].write(1);
    }
    black_box(&mut memory);
    Ok(pages)
}

/// Fills memory that stays allocated.
#[guest_function("keep")]
fn keep(pages: u32) -> Result<u32> {
    black_box(vec![1_u8; pages as usize * PAGE].leak());
    Ok(pages)
}

#[guest_function("crash")]
fn crash(message: String) -> Result<()> {
    panic!("{message}");
}
