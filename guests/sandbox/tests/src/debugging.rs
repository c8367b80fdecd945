//! A function and its data, for debuggers. The names of both are those in the source.
#![expect(unsafe_code, reason = "names without a hash and a fault, for debuggers")]

use core::ptr;
use core::sync::atomic::{AtomicU64, Ordering};

use sandbox_guest::guest_function;

/// The sum of the numbers that `debug_add` added.
#[unsafe(no_mangle)]
static DEBUG_TOTAL: AtomicU64 = AtomicU64::new(0);

/// What a debugger wrote.
#[unsafe(no_mangle)]
static DEBUG_VERDICT: AtomicU64 = AtomicU64::new(0);

/// Adds a number to the sum, and returns the sum.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn debug_add(number: u64) -> u64 {
    let total = DEBUG_TOTAL.load(Ordering::Relaxed).wrapping_add(number);
    DEBUG_TOTAL.store(total, Ordering::Relaxed);
    total
}

/// The sum of 1 to `last`. A host function increments each number that it adds.
#[guest_function]
fn debug_sum(last: u64) -> u64 {
    DEBUG_TOTAL.store(0, Ordering::Relaxed);
    let mut total = 0;
    for number in 0..last {
        total = debug_add(crate::calls::increment(number));
    }
    total
}

/// What a debugger wrote.
#[guest_function]
fn debug_verdict() -> u64 {
    DEBUG_VERDICT.load(Ordering::Relaxed)
}

/// The addresses of `debug_add`, of its sum, and of what a debugger writes.
#[guest_function]
fn debug_addresses() -> (u64, u64, u64) {
    let address = |pointer: *const ()| u64::try_from(pointer.addr()).unwrap_or_default();
    (
        address(debug_add as *const ()),
        address((&raw const DEBUG_TOTAL).cast()),
        address((&raw const DEBUG_VERDICT).cast()),
    )
}

/// Writes a byte to an address.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn debug_store(address: u64, value: u8) {
    let to = ptr::with_exposed_provenance_mut::<u8>(usize::try_from(address).unwrap_or_default());
    // SAFETY: none; the address is the test's, which wants an exception.
    unsafe { to.write_volatile(value) };
}

/// Has an exception: there is no memory at the address.
#[guest_function]
fn debug_fault(address: u64) {
    debug_store(address, 0x5a);
}
