//! Registers of the CPU as the guest reads them, and changes of all that the guest can change.
//!
//! The code that calls a guest function uses floating-point and vector registers, so their values are saved as the first thing that `probe` does,
//! into a static: nothing of the function itself is executed before. What the calling code leaves in them is a function of the state at the start
//! of the call and of the message, so equal states have equal values.
#![expect(unsafe_code, reason = "assembly")]

#[cfg(target_arch = "aarch64")]
#[path = "probe/aarch64.rs"]
mod arch;
#[cfg(target_arch = "riscv64")]
#[path = "probe/riscv64.rs"]
mod arch;
#[cfg(target_arch = "x86_64")]
#[path = "probe/x86_64.rs"]
mod arch;
mod values;

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::hint::{black_box, spin_loop};
use core::mem;
use core::sync::atomic::{AtomicU64, Ordering};

use sandbox_guest::guest_function;

use self::values::{Area, Registers};

/// The registers of the last call of `probe`.
static SAVED: Area<{ arch::WORDS }> = Area::new();

/// The registers that `disturb` loads.
static LOADED: Area<{ arch::WORDS }> = Area::new();

/// Data that `disturb` changes.
static MARK: AtomicU64 = AtomicU64::new(0);

/// Everything that the guest can read of its CPU, the value of a static, and the address of the next large block of the heap.
#[guest_function]
fn probe() -> Vec<(String, Vec<u64>)> {
    // SAFETY: it writes registers to the area, and changes no register that its caller uses.
    let has_more = unsafe { arch::save(SAVED.address()) };
    let mut registers = Registers(Vec::with_capacity(128));
    arch::saved(&mut registers, &SAVED, has_more);
    arch::system(&mut registers);
    registers.push("a static", MARK.load(Ordering::Relaxed));
    let block = Box::new([0_u64; 512]);
    let address = black_box(&raw const *block).addr();
    registers.push("a block of the heap", u64::try_from(address).unwrap_or_default());
    registers.0
}

/// Changes registers, a static and the heap. An odd pattern also disables what the guest can disable.
#[guest_function]
fn disturb(pattern: u64) {
    change(pattern, false);
}

/// Changes also the registers that functions preserve, and does not return.
#[guest_function]
fn disturb_and_spin(pattern: u64) {
    change(pattern, true);
    loop {
        spin_loop();
    }
}

fn change(pattern: u64, all: bool) {
    MARK.store(pattern, Ordering::Relaxed);
    mem::forget(black_box(Box::new([pattern; 512])));
    for at in 0..arch::WORDS {
        let at_64 = u64::try_from(at).unwrap_or_default();
        LOADED.set(
            at,
            pattern.wrapping_add(at_64).wrapping_mul(0x9e37_79b9_7f4a_7c15),
        );
    }
    arch::prepare(&LOADED, pattern);
    arch::disturb_system(pattern);
    // SAFETY: it changes registers only that its caller does not preserve, unless `all` is set; then no caller continues.
    unsafe { arch::load(LOADED.address(), all.into()) };
}

/// The products of numbers, by registers of AVX; `None` without AVX.
#[guest_function]
#[expect(clippy::needless_pass_by_value, reason = "parameters own their values")]
fn avx_products(left: Vec<f64>, right: Vec<f64>) -> Option<Vec<f64>> {
    arch::avx_products(&left, &right)
}
