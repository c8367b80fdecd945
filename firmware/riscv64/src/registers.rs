//! Registers of devices.
#![expect(unsafe_code, reason = "registers by their address")]

use fw_device_tree::Registers;

/// Access by volatile loads and stores.
#[derive(Clone, Copy, Default)]
pub(crate) struct Mmio;

/// The pointer to an address.
fn pointer<T>(addr: u64) -> *mut T {
    core::ptr::with_exposed_provenance_mut(usize::try_from(addr).unwrap_or_default())
}

impl Registers for Mmio {
    unsafe fn read_u8(self, addr: u64) -> u8 {
        // SAFETY: the caller guarantees that the access is valid.
        unsafe { pointer::<u8>(addr).read_volatile() }
    }

    unsafe fn read_u16(self, addr: u64) -> u16 {
        // SAFETY: as above.
        unsafe { pointer::<u16>(addr).read_volatile() }
    }

    unsafe fn read_u32(self, addr: u64) -> u32 {
        // SAFETY: as above.
        unsafe { pointer::<u32>(addr).read_volatile() }
    }

    unsafe fn write_u8(self, addr: u64, value: u8) {
        // SAFETY: as above.
        unsafe { pointer::<u8>(addr).write_volatile(value) }
    }

    unsafe fn write_u16(self, addr: u64, value: u16) {
        // SAFETY: as above.
        unsafe { pointer::<u16>(addr).write_volatile(value) }
    }

    unsafe fn write_u32(self, addr: u64, value: u32) {
        // SAFETY: as above.
        unsafe { pointer::<u32>(addr).write_volatile(value) }
    }
}
