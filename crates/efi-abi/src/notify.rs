//! Calls of notification functions.
#![expect(
    unsafe_code,
    reason = "notification functions are called through the pointers of images"
)]

use efi_core::Result;
use efi_core::events::{Notification, Tpl};
use uefi_raw::protocol::console::{InputKey, KeyData, KeyState};
use uefi_raw::table::boot::EventNotifyFn;
use uefi_raw::{Event, Status as RawStatus};

use crate::access::pointer;
use crate::state::{KeyCall, with};

/// `EFI_KEY_NOTIFY_FUNCTION`.
type KeyFunction = unsafe extern "efiapi" fn(*const KeyData) -> RawStatus;

/// Calls the queued notifications above a level, with no borrow of the state. The level is `floor` afterwards if it was not lower.
pub(crate) fn dispatch(floor: Tpl) -> Result<()> {
    while let Some((notification, before)) = with(|state| {
        let before = state.events.tpl();
        Ok(state
            .events
            .next_notification(floor.max(before))
            .map(|notification| {
                state.events.set_tpl(notification.tpl);
                (notification, before)
            }))
    })? {
        call(&notification);
        // The firmware may be gone if the function called ExitBootServices against the specification.
        with(|state| {
            state.events.set_tpl(before);
            Ok(())
        })?;
    }
    dispatch_keys(floor)
}

/// Calls the functions of keys that came, at `TPL_CALLBACK`, if the level is lower.
fn dispatch_keys(floor: Tpl) -> Result<()> {
    while let Some((key, before)) = with(|state| {
        let before = state.events.tpl();
        if floor.max(before) >= Tpl::CALLBACK {
            return Ok(None);
        }
        Ok(state.key_notifications.next().map(|call| {
            state.events.set_tpl(Tpl::CALLBACK);
            (call, before)
        }))
    })? {
        call_key(key);
        with(|state| {
            state.events.set_tpl(before);
            Ok(())
        })?;
    }
    Ok(())
}

/// Calls the notification function of a key.
fn call_key(call: KeyCall) {
    let address = pointer::<()>(call.function);
    if address.is_null() {
        return;
    }
    // SAFETY: the number is the address of the function that was registered; it is not null.
    let function = unsafe { core::mem::transmute::<*mut (), KeyFunction>(address) };
    let data = KeyData {
        key: InputKey {
            scan_code: call.key.scan_code,
            unicode_char: call.key.unicode,
        },
        key_state: KeyState::default(),
    };
    // SAFETY: RegisterKeyNotify has the contract that the function may be called until it is removed. Its status has no meaning
    // for the key, which stays in the queue.
    let _ = unsafe { function(&raw const data) };
}

/// Dispatches the notifications above the current level.
pub(crate) fn dispatch_pending() -> Result<()> {
    let tpl = with(|state| Ok(state.events.tpl()))?;
    dispatch(tpl)
}

/// Calls one notification function.
pub(crate) fn call(notification: &Notification) {
    let address = pointer::<()>(notification.notify.function);
    if address.is_null() {
        return;
    }
    // SAFETY: the number is the address of the function that the creator of the event passed; it is not null.
    let function = unsafe { core::mem::transmute::<*mut (), EventNotifyFn>(address) };
    let event: Event = pointer(notification.event.0);
    // SAFETY: CreateEvent has the contract that the function may be called until the event is closed.
    unsafe { function(event, pointer(notification.notify.context)) };
}
