//! `EFI_SIMPLE_TEXT_INPUT_PROTOCOL` and `EFI_SIMPLE_TEXT_INPUT_EX_PROTOCOL`, UEFI 2.10 sections 12.2 and 12.3.
#![expect(unsafe_code, reason = "functions called by images")]

use core::ffi::c_void;
use core::mem::transmute;

use efi_core::{Result, Status};
use uefi_raw::protocol::console::{
    InputKey, KeyData, KeyNotifyFn, KeyState, KeyToggleState, SimpleTextInputExProtocol,
    SimpleTextInputProtocol,
};
use uefi_raw::{Boolean, Event, Status as RawStatus};

use crate::access::{address, pointer, raw, read, reply, write};
use crate::keys::Key;
use crate::notify::dispatch_pending;
use crate::state::with;

/// `RegisterKeyNotify` as callers may call it, and as the interface has it.
type RegisterNullable = unsafe extern "efiapi" fn(
    *mut SimpleTextInputExProtocol,
    *const KeyData,
    Option<KeyNotifyFn>,
    *mut *mut c_void,
) -> RawStatus;
type Register = unsafe extern "efiapi" fn(
    *mut SimpleTextInputExProtocol,
    *const KeyData,
    KeyNotifyFn,
    *mut *mut c_void,
) -> RawStatus;

/// The interface with the event of keys.
pub(crate) fn interface(wait_for_key: Event) -> SimpleTextInputProtocol {
    SimpleTextInputProtocol {
        reset,
        read_key_stroke,
        wait_for_key,
    }
}

/// The extended interface with the event of keys.
pub(crate) fn interface_ex(wait_for_key_ex: Event) -> SimpleTextInputExProtocol {
    SimpleTextInputExProtocol {
        reset: reset_ex,
        read_key_stroke_ex,
        wait_for_key_ex,
        set_state,
        // SAFETY: the types differ in the function, which may be null here: an `Option` of a function has the same representation.
        register_key_notify: unsafe { transmute::<RegisterNullable, Register>(register_key_notify) },
        unregister_key_notify,
    }
}

fn clear() -> RawStatus {
    reply(with(|state| {
        state.poll();
        state.keys.clear();
        Ok(())
    }))
}

fn next_key() -> Result<InputKey> {
    with(|state| {
        state.poll();
        Ok(())
    })?;
    dispatch_pending()?;
    with(|state| {
        let now = state.poll();
        let key = state.keys.pop(now).ok_or(Status::NOT_READY)?;
        Ok(InputKey {
            scan_code: key.scan_code,
            unicode_char: key.unicode,
        })
    })
}

unsafe extern "efiapi" fn reset(_: *mut SimpleTextInputProtocol, _: Boolean) -> RawStatus {
    clear()
}

unsafe extern "efiapi" fn read_key_stroke(
    _: *mut SimpleTextInputProtocol,
    target: *mut InputKey,
) -> RawStatus {
    if target.is_null() {
        return raw(Status::INVALID_PARAMETER);
    }
    // SAFETY: not null, so valid by the contract of the function.
    reply(next_key().and_then(|key| unsafe { write(target, key) }))
}

unsafe extern "efiapi" fn reset_ex(_: *mut SimpleTextInputExProtocol, _: Boolean) -> RawStatus {
    clear()
}

unsafe extern "efiapi" fn read_key_stroke_ex(
    _: *mut SimpleTextInputExProtocol,
    target: *mut KeyData,
) -> RawStatus {
    if target.is_null() {
        return raw(Status::INVALID_PARAMETER);
    }
    let result = next_key();
    // A terminal sends no state of shift and toggle keys.
    let value = KeyData {
        key: *result.as_ref().unwrap_or(&InputKey::default()),
        key_state: KeyState::default(),
    };
    // SAFETY: not null, so valid by the contract of the function.
    let written = unsafe { write(target, value) };
    reply(result.and(written))
}

unsafe extern "efiapi" fn set_state(
    _: *mut SimpleTextInputExProtocol,
    state: *const KeyToggleState,
) -> RawStatus {
    raw(if state.is_null() {
        Status::INVALID_PARAMETER
    } else {
        Status::UNSUPPORTED
    })
}

/// Bit of the shift state: the other bits mean something.
const SHIFT_STATE_VALID: u32 = 0x8000_0000;

/// `RegisterKeyNotify`: the function is called when the key is found, in a service that looks for input. A terminal sends no state
/// of shift and toggle keys, so a registration for such a state is accepted and never called.
unsafe extern "efiapi" fn register_key_notify(
    _: *mut SimpleTextInputExProtocol,
    data: *const KeyData,
    function: Option<KeyNotifyFn>,
    target: *mut *mut c_void,
) -> RawStatus {
    let Some(function) = function.filter(|_| !target.is_null()) else {
        return raw(Status::INVALID_PARAMETER);
    };
    // SAFETY: null or valid by the contract of the function.
    let data = unsafe { read(data) };
    reply(data.and_then(|data| {
        let shift = data.key_state.key_shift_state.bits() & !SHIFT_STATE_VALID;
        let key = Key {
            scan_code: data.key.scan_code,
            unicode: data.key.unicode_char,
        };
        let function = if shift == 0 {
            address(function as *const ())
        } else {
            0
        };
        let id = with(|state| state.key_notifications.register(key, function))?;
        // SAFETY: not null, so valid by the contract of the function.
        unsafe { write(target, pointer(id)) }
    }))
}

unsafe extern "efiapi" fn unregister_key_notify(
    _: *mut SimpleTextInputExProtocol,
    handle: *mut c_void,
) -> RawStatus {
    reply(with(|state| state.key_notifications.unregister(address(handle))))
}
