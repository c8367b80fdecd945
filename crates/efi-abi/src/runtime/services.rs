//! Time, reset, and services that are not supported.
#![expect(unsafe_code, reason = "services called by images and the operating system")]

use core::ffi::c_void;

use efi_core::time::Time as CoreTime;
use efi_core::{Result, Status};
use uefi_raw::capsule::CapsuleHeader;
use uefi_raw::table::runtime::{ResetType, TimeCapabilities};
use uefi_raw::time::{Daylight, Time};
use uefi_raw::{Boolean, Status as RawStatus};

use super::block::with_runtime;
use super::virtual_map::UNSUPPORTED;
use crate::access::{read, reply, write};

/// `GetTime`: UTC with a resolution of one second.
pub(super) unsafe extern "efiapi" fn get_time(
    time: *mut Time,
    capabilities: *mut TimeCapabilities,
) -> RawStatus {
    // SAFETY: the caller passes null or valid pointers.
    reply(unsafe { read_time(time, capabilities) })
}

unsafe fn read_time(target: *mut Time, capabilities: *mut TimeCapabilities) -> Result<()> {
    if target.is_null() {
        return Err(Status::INVALID_PARAMETER);
    }
    let hooks = with_runtime(|state| Ok(state.hooks))?;
    let mut seconds = 0;
    // SAFETY: the contract of the hooks.
    let status = unsafe { (hooks.get_time)(hooks.context, &raw mut seconds) };
    if status != RawStatus::SUCCESS {
        return Err(Status(status.0));
    }
    let time = CoreTime::from_unix(seconds).ok_or(Status::DEVICE_ERROR)?;
    let value = Time {
        year: time.year,
        month: time.month,
        day: time.day,
        hour: time.hour,
        minute: time.minute,
        second: time.second,
        pad1: 0,
        nanosecond: time.nanosecond,
        time_zone: time.time_zone,
        daylight: Daylight::empty(),
        pad2: 0,
    };
    // SAFETY: not null, so valid by the contract of the service.
    unsafe { write(target, value) }?;
    if !capabilities.is_null() {
        let value = TimeCapabilities {
            resolution: 1,
            accuracy: 50_000_000,
            sets_to_zero: Boolean::FALSE,
        };
        // SAFETY: not null, so valid by the contract of the service.
        unsafe { write(capabilities, value) }?;
    }
    Ok(())
}

/// `SetTime`.
pub(super) unsafe extern "efiapi" fn set_time(time: *const Time) -> RawStatus {
    // SAFETY: the caller passes null or a valid pointer.
    reply(unsafe { write_time(time) })
}

unsafe fn write_time(source: *const Time) -> Result<()> {
    // SAFETY: null or valid by the contract of the service.
    let time = unsafe { read(source) }?;
    let time = CoreTime {
        year: time.year,
        month: time.month,
        day: time.day,
        hour: time.hour,
        minute: time.minute,
        second: time.second,
        nanosecond: time.nanosecond,
        time_zone: time.time_zone,
        daylight: time.daylight.bits(),
    };
    let seconds = time.to_unix()?;
    let hooks = with_runtime(|state| Ok(state.hooks))?;
    // SAFETY: the contract of the hooks.
    let status = unsafe { (hooks.set_time)(hooks.context, seconds) };
    if status == RawStatus::SUCCESS {
        Ok(())
    } else {
        Err(Status(status.0))
    }
}

/// `GetWakeupTime`: there is no alarm.
pub(super) unsafe extern "efiapi" fn get_wakeup_time(
    _: *mut Boolean,
    _: *mut Boolean,
    _: *mut Time,
) -> RawStatus {
    UNSUPPORTED
}

/// `SetWakeupTime`: there is no alarm.
pub(super) unsafe extern "efiapi" fn set_wakeup_time(_: Boolean, _: *const Time) -> RawStatus {
    UNSUPPORTED
}

/// `GetNextHighMonotonicCount`.
pub(super) unsafe extern "efiapi" fn get_next_high_monotonic_count(count: *mut u32) -> RawStatus {
    if count.is_null() {
        return reply::<()>(Err(Status::INVALID_PARAMETER));
    }
    reply(with_runtime(|state| {
        state.high_count = state.high_count.wrapping_add(1);
        // SAFETY: the caller passes a valid pointer.
        unsafe { write(count, state.high_count) }
    }))
}

/// `ResetSystem`.
pub(super) unsafe extern "efiapi" fn reset_system(
    kind: ResetType,
    status: RawStatus,
    _: usize,
    _: *const u8,
) -> ! {
    loop {
        if let Ok(hooks) = with_runtime(|state| Ok(state.hooks)) {
            // SAFETY: the contract of the hooks.
            unsafe { (hooks.reset)(hooks.context, kind, status) };
        }
        // Another CPU is in a service.
        core::hint::spin_loop();
    }
}

/// `UpdateCapsule`: there are no capsules.
pub(super) unsafe extern "efiapi" fn update_capsule(
    _: *const *const CapsuleHeader,
    _: usize,
    _: u64,
) -> RawStatus {
    UNSUPPORTED
}

/// `QueryCapsuleCapabilities`: there are no capsules.
pub(super) unsafe extern "efiapi" fn query_capsule_capabilities(
    _: *const *const CapsuleHeader,
    _: usize,
    _: *mut u64,
    _: *mut ResetType,
) -> RawStatus {
    UNSUPPORTED
}

/// The contexts of hooks are pointers of the platform.
const _: () = assert!(size_of::<*mut c_void>() == 8);
