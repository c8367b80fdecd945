//! Port I/O.
#![expect(unsafe_code, reason = "port I/O needs assembly")]

use core::arch::asm;

/// An 8-bit I/O port.
#[derive(Clone, Copy)]
pub(crate) struct Port(u16);

impl Port {
    pub(crate) const fn at(address: u16) -> Self {
        Self(address)
    }

    /// The port at `offset` from this one.
    pub(crate) const fn plus(self, offset: u16) -> Self {
        Self(self.0 + offset)
    }

    pub(crate) fn read(self) -> u8 {
        let value;
        // SAFETY: `in` accesses neither memory nor flags. This program owns the machine, and its drivers expect the side effects
        // of the read.
        unsafe {
            asm!("in al, dx", in("dx") self.0, out("al") value, options(nomem, nostack, preserves_flags));
        }
        value
    }

    pub(crate) fn write(self, value: u8) {
        // SAFETY: `out` accesses neither memory nor flags, and no device that this program uses writes to memory.
        unsafe {
            asm!("out dx, al", in("dx") self.0, in("al") value, options(nomem, nostack, preserves_flags));
        }
    }
}
