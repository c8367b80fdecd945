//! Calls of notification functions.
#![expect(
    unsafe_code,
    reason = "notification functions are called through the pointers of images"
)]

use efi_core::Result;
use efi_core::events::{Notification, Tpl};
use uefi_raw::Event;
use uefi_raw::table::boot::EventNotifyFn;

use crate::access::pointer;
use crate::state::with;

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
    Ok(())
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
