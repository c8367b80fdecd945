//! Registers of devices.
#![expect(unsafe_code, reason = "accesses by address")]

/// Accesses to registers of devices, which are little-endian, by their address.
///
/// Each method is one load or store of its width, of a kind that hypervisors emulate.
pub trait Registers: Copy {
    /// Reads a byte.
    ///
    /// # Safety
    ///
    /// `addr` is a register of a device that the caller owns, or of none; it is mapped as device memory, and aligned. The access has no effect
    /// on memory that is in use.
    unsafe fn read_u8(self, addr: u64) -> u8;

    /// Reads 16 bits.
    ///
    /// # Safety
    ///
    /// As for [`read_u8`](Self::read_u8).
    unsafe fn read_u16(self, addr: u64) -> u16;

    /// Reads 32 bits.
    ///
    /// # Safety
    ///
    /// As for [`read_u8`](Self::read_u8).
    unsafe fn read_u32(self, addr: u64) -> u32;

    /// Writes a byte.
    ///
    /// # Safety
    ///
    /// As for [`read_u8`](Self::read_u8).
    unsafe fn write_u8(self, addr: u64, value: u8);

    /// Writes 16 bits.
    ///
    /// # Safety
    ///
    /// As for [`read_u8`](Self::read_u8).
    unsafe fn write_u16(self, addr: u64, value: u16);

    /// Writes 32 bits.
    ///
    /// # Safety
    ///
    /// As for [`read_u8`](Self::read_u8).
    unsafe fn write_u32(self, addr: u64, value: u32);
}
