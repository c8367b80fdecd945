//! Time and counters, UEFI 2.10 section 7.5.
#![expect(unsafe_code, reason = "services called by images")]

use efi_core::Status;
use uefi_raw::Status as RawStatus;

use crate::access::{reply, write};
use crate::state::with;

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
