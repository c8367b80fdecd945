//! Miscellaneous services, UEFI 2.10 section 7.5.
#![expect(unsafe_code, reason = "services called by images")]

use core::ffi::c_void;

use efi_core::crc::crc32;
use efi_core::{Guid, Status};
use uefi_raw::Status as RawStatus;

use crate::access::{address, bytes, guid, reply, write};
use crate::notify::dispatch_pending;
use crate::runtime;
use crate::state::with;

/// `InstallConfigurationTable`: signals the events of the group with the table's GUID.
pub(super) unsafe extern "efiapi" fn install_configuration_table(
    name: *const Guid,
    table: *const c_void,
) -> RawStatus {
    // SAFETY: the caller passes null or a valid pointer.
    let result = unsafe { guid(name) }.and_then(|name| {
        runtime::add_table(name, address(table))?;
        with(|state| {
            state.events.signal_group(name);
            Ok(())
        })?;
        dispatch_pending()
    });
    reply(result)
}

/// `GetNextMonotonicCount`.
pub(super) unsafe extern "efiapi" fn get_next_monotonic_count(target: *mut u64) -> RawStatus {
    if target.is_null() {
        return reply::<()>(Err(Status::INVALID_PARAMETER));
    }
    let result = with(|state| {
        state.monotonic_count = state.monotonic_count.wrapping_add(1);
        Ok(state.monotonic_count)
    });
    // SAFETY: not null, so valid by the contract of the service.
    reply(result.and_then(|count| unsafe { write(target, count) }))
}

/// `Stall`.
pub(super) unsafe extern "efiapi" fn stall(microseconds: usize) -> RawStatus {
    reply(with(|state| {
        state.platform.stall(microseconds as u64);
        Ok(())
    }))
}

/// `SetWatchdogTimer`.
pub(super) unsafe extern "efiapi" fn set_watchdog_timer(
    seconds: usize,
    _code: u64,
    _size: usize,
    _data: *const u16,
) -> RawStatus {
    reply(with(|state| state.platform.set_watchdog(seconds as u64)))
}

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
