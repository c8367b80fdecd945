//! The entries of the tables, and the firmware's functions.
#![expect(unsafe_code, reason = "tables are raw memory of the firmware")]

use core::cell::UnsafeCell;

use crate::services::{BOOT_COUNT, SERVICES};

const COUNT: usize = SERVICES.len();

/// Length of a stub in bytes.
const STUB: usize = 16;

/// Length of the header of a table in bytes (UEFI specification 2.10, section 4.2).
const HEADER: usize = 24;

/// The reserved entry of the boot services table, which is left as it is.
const RESERVED: usize = 17;

/// The firmware's functions, by the index of their service. The assembly reads it.
#[repr(transparent)]
pub(super) struct Originals(UnsafeCell<[u64; COUNT]>);

// SAFETY: the firmware runs one processor (UEFI specification 2.10, section 2.3), and the table is written before the stubs are
// in use.
unsafe impl Sync for Originals {}

/// See [`Originals`].
pub(super) static ORIGINALS: Originals = Originals(UnsafeCell::new([0; COUNT]));

/// The boot and the runtime services table.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tables {
    boot: *mut u64,
    runtime: *mut u64,
}

impl Tables {
    /// The tables at these addresses.
    ///
    /// # Safety
    ///
    /// They are those of the system table, and stay writable while this value is used.
    pub(super) unsafe fn new(boot: *mut u64, runtime: *mut u64) -> Self {
        Self { boot, runtime }
    }

    /// The entry of a service.
    fn entry(self, index: usize) -> *mut u64 {
        let (table, index) = match index.checked_sub(BOOT_COUNT) {
            None => (self.boot, index),
            Some(index) => (self.runtime, index),
        };
        table.wrapping_byte_add(HEADER).wrapping_add(index)
    }

    /// Saves the firmware's functions and replaces them by the stubs, of which the first is at `stubs`.
    pub(super) fn hook(self, stubs: usize) {
        let originals = ORIGINALS.0.get().cast::<u64>();
        for index in (0..COUNT).filter(|index| *index != RESERVED) {
            let entry = self.entry(index);
            // SAFETY: the entry is inside a table, as `new` requires.
            let original = unsafe { entry.read() };
            // SAFETY: the index is below the length, and no stub is in use yet.
            unsafe { originals.wrapping_add(index).write(original) };
        }
        for index in (0..COUNT).filter(|index| *index != RESERVED) {
            // SAFETY: the entry is inside a table that is writable, as `new` requires.
            unsafe { self.entry(index).write((stubs + STUB * index) as u64) };
        }
    }

    /// Restores the firmware's functions.
    pub(super) fn unhook(self) {
        let originals = ORIGINALS.0.get().cast::<u64>();
        for index in (0..COUNT).filter(|index| *index != RESERVED) {
            // SAFETY: the index is below the length, and nothing is written since `hook`.
            let original = unsafe { originals.wrapping_add(index).read() };
            // SAFETY: the entry is inside a table that is writable, as `new` requires.
            unsafe { self.entry(index).write(original) };
        }
    }
}
