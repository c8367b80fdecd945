//! Functions on buffers, UEFI 2.10 section 7.5.
#![expect(unsafe_code, reason = "services called by images")]

use core::ffi::c_void;

use efi_core::Status;
use efi_core::crc::crc32;
use uefi_raw::Status as RawStatus;

use crate::access::{bytes, reply, write};

/// `CalculateCrc32`.
pub(super) unsafe extern "efiapi" fn calculate_crc32(
    data: *const c_void,
    size: usize,
    target: *mut u32,
) -> RawStatus {
    if data.is_null() || size == 0 || target.is_null() {
        return reply::<()>(Err(Status::INVALID_PARAMETER));
    }
    // SAFETY: the caller passes a valid buffer.
    let result = unsafe { bytes(data.cast::<u8>(), size) };
    // SAFETY: not null, so valid by the contract of the service.
    reply(result.and_then(|data| unsafe { write(target, crc32(data)) }))
}

/// `CopyMem`: the buffers may overlap.
pub(super) unsafe extern "efiapi" fn copy_mem(target: *mut u8, source: *const u8, len: usize) {
    if len > 0 && !target.is_null() && !source.is_null() {
        // SAFETY: the caller passes valid buffers.
        unsafe { core::ptr::copy(source, target, len) };
    }
}

/// `SetMem`.
pub(super) unsafe extern "efiapi" fn set_mem(target: *mut u8, len: usize, value: u8) {
    if len > 0 && !target.is_null() {
        // SAFETY: the caller passes a valid buffer.
        unsafe { core::ptr::write_bytes(target, value, len) };
    }
}
