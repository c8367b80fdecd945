//! `EFI_SIMPLE_TEXT_INPUT_PROTOCOL` and `EFI_SIMPLE_TEXT_INPUT_EX_PROTOCOL`, UEFI 2.10 sections 12.2 and 12.3.
#![expect(unsafe_code, reason = "functions called by images")]

use core::ffi::c_void;

use efi_core::{Result, Status};
use uefi_raw::protocol::console::{
    InputKey, KeyData, KeyNotifyFn, KeyState, KeyToggleState, SimpleTextInputExProtocol,
    SimpleTextInputProtocol,
};
use uefi_raw::{Boolean, Event, Status as RawStatus};

use crate::access::{raw, reply, write};
use crate::state::with;

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
        register_key_notify,
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

/// There is no interrupt that could call a function when a key comes.
unsafe extern "efiapi" fn register_key_notify(
    _: *mut SimpleTextInputExProtocol,
    _: *const KeyData,
    _: KeyNotifyFn,
    _: *mut *mut c_void,
) -> RawStatus {
    raw(Status::OUT_OF_RESOURCES)
}

unsafe extern "efiapi" fn unregister_key_notify(
    _: *mut SimpleTextInputExProtocol,
    _: *mut c_void,
) -> RawStatus {
    raw(Status::INVALID_PARAMETER)
}
