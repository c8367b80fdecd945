//! I/O ports.
#![expect(unsafe_code, reason = "instructions for I/O ports")]

use core::arch::asm;

/// An I/O port of a device that belongs to the firmware, or whose use has no effect on memory.
#[derive(Clone, Copy)]
pub(crate) struct Port(u16);

impl Port {
    /// The port `number`.
    ///
    /// # Safety
    ///
    /// No access to it makes a device write memory that is in use.
    pub(crate) const unsafe fn new(number: u16) -> Self {
        Self(number)
    }

    pub(crate) fn write_u8(self, value: u8) {
        // SAFETY: `new` demands that accesses do not affect memory.
        unsafe { asm!("out dx, al", in("dx") self.0, in("al") value, options(nostack, preserves_flags)) }
    }

    pub(crate) fn read_u8(self) -> u8 {
        let value;
        // SAFETY: as above.
        unsafe { asm!("in al, dx", in("dx") self.0, out("al") value, options(nostack, preserves_flags)) }
        value
    }

    #[cfg(feature = "efi")]
    pub(crate) fn write_u16(self, value: u16) {
        // SAFETY: as above.
        unsafe { asm!("out dx, ax", in("dx") self.0, in("ax") value, options(nostack, preserves_flags)) }
    }

    #[cfg(feature = "efi")]
    pub(crate) fn read_u16(self) -> u16 {
        let value;
        // SAFETY: as above.
        unsafe { asm!("in ax, dx", in("dx") self.0, out("ax") value, options(nostack, preserves_flags)) }
        value
    }

    pub(crate) fn write_u32(self, value: u32) {
        // SAFETY: as above.
        unsafe { asm!("out dx, eax", in("dx") self.0, in("eax") value, options(nostack, preserves_flags)) }
    }

    pub(crate) fn read_u32(self) -> u32 {
        let value;
        // SAFETY: as above.
        unsafe { asm!("in eax, dx", in("dx") self.0, out("eax") value, options(nostack, preserves_flags)) }
        value
    }
}
