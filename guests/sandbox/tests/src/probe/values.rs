//! Values of registers.

use alloc::string::{String, ToString as _};
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering};

/// Floating-point and vector registers in memory.
#[repr(C, align(64))]
pub(super) struct Area<const WORDS: usize>([AtomicU64; WORDS]);

impl<const WORDS: usize> Area<WORDS> {
    /// An area of zeros.
    pub(super) const fn new() -> Self {
        Self([const { AtomicU64::new(0) }; WORDS])
    }

    /// Address for assembly.
    pub(super) fn address(&self) -> *mut u64 {
        self.0.as_ptr().cast_mut().cast()
    }

    /// A word; 0 past the end.
    pub(super) fn get(&self, at: usize) -> u64 {
        self.0.get(at).map_or(0, |word| word.load(Ordering::Relaxed))
    }

    /// Changes a word, if there is one.
    pub(super) fn set(&self, at: usize, value: u64) {
        if let Some(word) = self.0.get(at) {
            word.store(value, Ordering::Relaxed);
        }
    }
}

/// Names and values of registers.
pub(super) struct Registers(pub(super) Vec<(String, Vec<u64>)>);

impl Registers {
    /// A register.
    pub(super) fn push(&mut self, name: &str, value: u64) {
        self.0.push((name.to_string(), [value].into()));
    }

    /// Words of an area.
    pub(super) fn push_words<const WORDS: usize>(
        &mut self,
        name: &str,
        area: &Area<WORDS>,
        first: usize,
        words: usize,
    ) {
        let values = (first..first + words).map(|at| area.get(at));
        self.0.push((name.to_string(), values.collect()));
    }
}
