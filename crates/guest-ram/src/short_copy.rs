//! Copies of a few pages.
//!
//! The C library copies and fills more than about 2 KiB with string instructions on x86_64. Their start takes longer than a loop of vector
//! instructions for a few pages, and emulators count each of their repetitions. So such copies are made in steps.

#![expect(
    unsafe_code,
    reason = "copies memory at addresses that the caller vouches for"
)]

use std::hint::black_box;

/// Length of a step in bytes.
const STEP: usize = 1024;

/// Longer copies are made at once, with the string instructions.
const MAX: usize = 0x2_0000;

/// Copies `len` bytes.
///
/// # Safety
///
/// As [`core::ptr::copy_nonoverlapping`] for bytes.
#[inline]
pub(crate) unsafe fn copy(from: *const u8, to: *mut u8, len: usize) {
    // A call of the C library takes longer than this comparison, and many messages have no body.
    if len == 0 {
        return;
    }
    let mut done = 0;
    while len <= MAX && len.saturating_sub(done) > STEP {
        // SAFETY: `done` is less than `len`, so the address is in the range of the caller.
        let from = unsafe { from.add(done) };
        // SAFETY: as for `from`.
        let to = unsafe { to.add(done) };
        // SAFETY: the step ends before `len`; the caller vouches for the ranges.
        unsafe { from.copy_to_nonoverlapping(to, STEP) };
        // Otherwise the compiler makes one copy of the loop.
        done = black_box(done + STEP);
    }
    // SAFETY: `done` is at most `len`, so the address is in the range of the caller or at its end.
    let from = unsafe { from.add(done) };
    // SAFETY: as for `from`.
    let to = unsafe { to.add(done) };
    // SAFETY: these are the rest of the ranges.
    unsafe { from.copy_to_nonoverlapping(to, len - done) };
}

/// Fills `len` bytes with zeros.
///
/// # Safety
///
/// As [`core::ptr::write_bytes`] for bytes.
#[inline]
pub(crate) unsafe fn zero(to: *mut u8, len: usize) {
    let mut done = 0;
    while len <= MAX && len.saturating_sub(done) > STEP {
        // SAFETY: `done` is less than `len`.
        let to = unsafe { to.add(done) };
        // SAFETY: the step ends before `len`; the caller vouches for the range.
        unsafe { to.write_bytes(0, STEP) };
        done = black_box(done + STEP);
    }
    // SAFETY: `done` is at most `len`.
    let to = unsafe { to.add(done) };
    // SAFETY: this is the rest of the range.
    unsafe { to.write_bytes(0, len - done) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_bytes_are_copied_and_filled() {
        for len in [0, 1, STEP - 1, STEP, STEP + 1, 2 * STEP, 4096, 4097, MAX, MAX + 1] {
            let from: Vec<u8> = (0..len).map(|at| u8::try_from(at % 251).unwrap()).collect();
            let mut to = vec![0xff; len + 1];
            // SAFETY: both vectors have as many bytes.
            unsafe { copy(from.as_ptr(), to.as_mut_ptr(), len) };
            assert!(to[..len] == from && to[len] == 0xff, "{len}");
            // SAFETY: the vector has as many bytes.
            unsafe { zero(to.as_mut_ptr(), len) };
            assert!(
                to[..len].iter().all(|&byte| byte == 0) && to[len] == 0xff,
                "{len}"
            );
        }
    }
}
