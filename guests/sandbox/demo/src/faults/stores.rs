//! Stores to pages that were not written before, by all kinds of instructions.
#![expect(unsafe_code, reason = "assembly, and accesses to any memory")]

use alloc::vec::Vec;
use core::arch::asm;
use core::hint::black_box;
use core::ptr;
use core::sync::atomic::{AtomicU64, Ordering};

use sandbox_guest::guest_function;

/// A word that a store writes, and the value of the register number `n` while it does: `WORD + n`.
const WORD: u64 = 0x1122_3344_5566_7700;

/// Stores `WORD` at an address with other values in all registers that a program may use. Returns how many of them, and of the flags, changed.
#[guest_function]
fn store_keeps_registers(address: usize) -> usize {
    // SAFETY: none: the caller chooses the address. Each register is an output.
    let (values, flags) = unsafe { store(black_box(address)) };
    let kept = (0..)
        .zip(&values)
        .filter(|(n, value)| **value == WORD + n)
        .count();
    values.len() - kept + usize::from(flags.0 != flags.1)
}

#[cfg(target_arch = "x86_64")]
unsafe fn store(address: usize) -> ([u64; 12], (u64, u64)) {
    let mut v: [u64; 12] = core::array::from_fn(|n| WORD + u64::try_from(n).unwrap_or(0));
    let (before, after): (u64, u64);
    // SAFETY: none, as above.
    unsafe {
        asm!(
            "stc",
            "std",
            "pushfq",
            "mov [rdi], rax",
            "pushfq",
            "cld",
            "pop r12",
            "pop r13",
            inout("rax") v[0], inout("rcx") v[1], inout("rdx") v[2], inout("rsi") v[3],
            inout("r8") v[4], inout("r9") v[5], inout("r10") v[6], inout("r11") v[7],
            inout("r14") v[8], inout("r15") v[9], in("rdi") address,
            out("r12") after, out("r13") before,
        );
    }
    (v[10], v[11]) = vectors(address, v[10], v[11]);
    (v, (before, after))
}

/// Stores a vector register, and returns what two of them have.
#[cfg(all(target_arch = "x86_64", target_feature = "sse2"))]
fn vectors(address: usize, first: u64, last: u64) -> (u64, u64) {
    let (mut low, mut high) = (f64::from_bits(first), f64::from_bits(last));
    // SAFETY: none, as above.
    unsafe {
        asm!(
            "movups [{} + 0x1000], xmm0",
            in(reg) address,
            inout("xmm0") low, inout("xmm15") high,
            options(nostack, preserves_flags),
        );
    }
    (low.to_bits(), high.to_bits())
}

/// The target has no vector registers.
#[cfg(all(target_arch = "x86_64", not(target_feature = "sse2")))]
fn vectors(_address: usize, first: u64, last: u64) -> (u64, u64) {
    (first, last)
}

#[cfg(target_arch = "aarch64")]
unsafe fn store(address: usize) -> ([u64; 20], (u64, u64)) {
    let mut v: [u64; 20] = core::array::from_fn(|n| WORD + u64::try_from(n).unwrap_or(0));
    let (before, after): (u64, u64);
    let mut vector = f64::from_bits(v[19]);
    // SAFETY: none, as above.
    unsafe {
        asm!(
            "cmp xzr, x20",
            "mrs x21, nzcv",
            "str x0, [x20]",
            "mrs x20, nzcv",
            inout("x0") v[0], inout("x1") v[1], inout("x2") v[2], inout("x3") v[3], inout("x4") v[4],
            inout("x5") v[5], inout("x6") v[6], inout("x7") v[7], inout("x8") v[8], inout("x9") v[9],
            inout("x10") v[10], inout("x11") v[11], inout("x12") v[12], inout("x13") v[13],
            inout("x14") v[14], inout("x15") v[15], inout("x16") v[16], inout("x17") v[17],
            inout("x30") v[18], inout("x20") address => after, out("x21") before,
        );
        asm!("str q0, [{}, 0x1000]", in(reg) address, inout("v0") vector, options(nostack));
    }
    v[19] = vector.to_bits();
    (v, (before, after))
}

#[cfg(target_arch = "riscv64")]
unsafe fn store(address: usize) -> ([u64; 17], (u64, u64)) {
    let mut v: [u64; 17] = core::array::from_fn(|n| WORD + u64::try_from(n).unwrap_or(0));
    let mut vector = f64::from_bits(v[16]);
    // SAFETY: none, as above.
    unsafe {
        asm!(
            "sd a0, 0(s2)",
            inout("a0") v[0], inout("a1") v[1], inout("a2") v[2], inout("a3") v[3], inout("a4") v[4],
            inout("a5") v[5], inout("a6") v[6], inout("a7") v[7], inout("t0") v[8], inout("t1") v[9],
            inout("t2") v[10], inout("t3") v[11], inout("t4") v[12], inout("t5") v[13], inout("t6") v[14],
            inout("s3") v[15], in("s2") address, inout("fa0") vector,
            options(nostack),
        );
    }
    v[16] = vector.to_bits();
    (v, (0, 0))
}

/// Stores `WORD` to the last four bytes of the page at an address and the first four of the next one.
#[guest_function]
fn store_across_pages(address: usize) {
    let at = black_box(address) + 4092;
    // SAFETY: none, as above.
    unsafe {
        #[cfg(target_arch = "x86_64")]
        asm!("mov [{}], {}", in(reg) at, in(reg) WORD, options(nostack, preserves_flags));
        #[cfg(target_arch = "aarch64")]
        asm!("str {1}, [{0}]", in(reg) at, in(reg) WORD, options(nostack, preserves_flags));
        #[cfg(target_arch = "riscv64")]
        asm!("sd {1}, 0({0})", in(reg) at, in(reg) WORD, options(nostack));
    }
}

/// Adds `WORD` to the word at an address by an atomic instruction, and returns the sum of the word before and the one after a second one.
#[guest_function]
fn add_atomically(address: usize) -> u64 {
    // SAFETY: none, as above.
    let word = unsafe { &*ptr::with_exposed_provenance::<AtomicU64>(black_box(address)) };
    let before = word.fetch_add(WORD, Ordering::SeqCst);
    let swapped = word.compare_exchange(WORD + before, 1, Ordering::SeqCst, Ordering::SeqCst);
    before + swapped.map_or(0, |value| value)
}

/// Copies bytes to an address.
#[guest_function(bytes)]
fn copy_to(bytes: &[u8]) -> Vec<u8> {
    let Some((address, bytes)) = bytes.split_first_chunk() else {
        return Vec::new();
    };
    let address = usize::from_le_bytes(*address);
    // SAFETY: none, as above.
    unsafe {
        let to = ptr::with_exposed_provenance_mut::<u8>(black_box(address));
        to.copy_from_nonoverlapping(bytes.as_ptr(), bytes.len());
    }
    Vec::new()
}
