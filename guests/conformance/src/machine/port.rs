//! Port I/O.
#![expect(unsafe_code, reason = "port I/O is instructions that Rust has no words for")]

use core::arch::asm;

/// A byte-wide port.
#[derive(Clone, Copy)]
pub(crate) struct Port(u16);

impl Port {
    pub(crate) const fn at(address: u16) -> Self {
        Self(address)
    }

    /// The port `offset` behind this one.
    pub(crate) const fn plus(self, offset: u16) -> Self {
        Self(self.0 + offset)
    }

    pub(crate) fn read(self) -> u8 {
        let value;
        // SAFETY: `in` touches neither memory nor flags. This program owns the whole machine; what a device does upon
        // the read is what its driver here wants.
        unsafe {
            asm!("in al, dx", in("dx") self.0, out("al") value, options(nomem, nostack, preserves_flags));
        }
        value
    }

    pub(crate) fn write(self, value: u8) {
        // SAFETY: `out` touches neither memory nor flags, and no device driven here writes memory on its own.
        unsafe {
            asm!("out dx, al", in("dx") self.0, in("al") value, options(nomem, nostack, preserves_flags));
        }
    }
}
