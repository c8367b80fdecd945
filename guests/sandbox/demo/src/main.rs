//! A sandbox guest.
#![no_std]
#![no_main]

extern crate alloc;

use alloc::vec::Vec;

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
