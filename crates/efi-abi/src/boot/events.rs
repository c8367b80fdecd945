//! Events, timers and task priority levels, UEFI 2.10 section 7.1.
#![expect(unsafe_code, reason = "services called by images")]

use core::ffi::c_void;

use efi_core::events::{Check, Event as CoreEvent, EventKind, NewEvent, Notify, TimerDelay, Tpl};
use efi_core::{Guid, Result, Status};
use uefi_raw::table::boot::{EventNotifyFn, EventType, TimerDelay as RawDelay, Tpl as RawTpl};
use uefi_raw::{Event, Status as RawStatus};

use crate::access::{address, guid, pointer, read, reply, write};
use crate::notify::{dispatch, dispatch_pending};
use crate::state::{State, with};

/// `RaiseTPL`.
pub(super) unsafe extern "efiapi" fn raise_tpl(tpl: RawTpl) -> RawTpl {
    let old = with(|state| Ok(state.events.raise_tpl(Tpl(tpl.0))));
    RawTpl(old.unwrap_or(Tpl::APPLICATION).0)
}

/// `RestoreTPL`: notifications above the level are called first.
pub(super) unsafe extern "efiapi" fn restore_tpl(tpl: RawTpl) {
    // The service has no status; without a firmware there is nothing to restore.
    let _ = restore(Tpl(tpl.0));
}

fn restore(tpl: Tpl) -> Result<()> {
    with(|state| {
        state.poll();
        state.events.restore_tpl(tpl);
        Ok(())
    })?;
    dispatch(tpl)
}

/// `CreateEvent`.
pub(super) unsafe extern "efiapi" fn create_event(
    kind: EventType,
    tpl: RawTpl,
    function: Option<EventNotifyFn>,
    context: *mut c_void,
    target: *mut Event,
) -> RawStatus {
    // SAFETY: the caller passes null or a valid pointer.
    reply(unsafe { create(kind, tpl, function, context, None, target) })
}

/// `CreateEventEx`.
pub(super) unsafe extern "efiapi" fn create_event_ex(
    kind: EventType,
    tpl: RawTpl,
    function: Option<EventNotifyFn>,
    context: *const c_void,
    group: *const Guid,
    target: *mut Event,
) -> RawStatus {
    let group = if group.is_null() {
        Ok(None)
    } else {
        // SAFETY: the caller passes a valid pointer.
        unsafe { guid(group) }.map(Some)
    };
    // SAFETY: the caller passes null or a valid pointer.
    reply(group.and_then(|group| unsafe { create(kind, tpl, function, context.cast_mut(), group, target) }))
}

unsafe fn create(
    kind: EventType,
    tpl: RawTpl,
    function: Option<EventNotifyFn>,
    context: *mut c_void,
    group: Option<Guid>,
    target: *mut Event,
) -> Result<()> {
    if target.is_null() {
        return Err(Status::INVALID_PARAMETER);
    }
    let notify = function.map(|function| Notify {
        function: address(function as *const ()),
        context: address(context),
    });
    let new = NewEvent {
        kind: kind.bits(),
        tpl: Tpl(tpl.0),
        notify,
        group,
    };
    let event = with(|state| state.events.create(&new))?;
    // SAFETY: not null, so valid by the contract of the service.
    unsafe { write(target, pointer(event.0)) }
}

const fn number(delay: RawDelay) -> u32 {
    delay.0.cast_unsigned()
}

fn event(event: Event) -> CoreEvent {
    CoreEvent(address(event))
}

/// `SetTimer`.
pub(super) unsafe extern "efiapi" fn set_timer(timer: Event, delay: RawDelay, trigger: u64) -> RawStatus {
    reply(with(|state| {
        let delay = TimerDelay::from_number(number(delay))?;
        let now = state.platform.monotonic();
        state.events.set_timer(event(timer), delay, trigger, now)
    }))
}

/// `SignalEvent`.
pub(super) unsafe extern "efiapi" fn signal_event(signal: Event) -> RawStatus {
    let result = with(|state| state.events.signal(event(signal)));
    reply(result.and_then(|()| dispatch_pending()))
}

/// `CloseEvent`.
pub(super) unsafe extern "efiapi" fn close_event(closed: Event) -> RawStatus {
    reply(with(|state| {
        let closed = event(closed);
        state.events.close(closed)?;
        state.handles.forget_event(closed.0);
        Ok(())
    }))
}

/// `CheckEvent`.
pub(super) unsafe extern "efiapi" fn check_event(checked: Event) -> RawStatus {
    reply(check(event(checked)).and_then(|signaled| if signaled { Ok(()) } else { Err(Status::NOT_READY) }))
}

/// True if the event was signalled. The notification function of an event to wait for is called.
fn check(checked: CoreEvent) -> Result<bool> {
    let found = with(|state| {
        state.poll();
        state.events.check(checked)
    })?;
    dispatch_pending()?;
    match found {
        Check::Signaled => Ok(true),
        Check::NotReady => with(|state| state.events.take(checked)),
    }
}

/// `WaitForEvent`.
pub(super) unsafe extern "efiapi" fn wait_for_event(
    count: usize,
    all: *const Event,
    target: *mut usize,
) -> RawStatus {
    // SAFETY: the caller passes null or valid pointers.
    reply(unsafe { wait(count, all, target) })
}

unsafe fn wait(count: usize, all: *const Event, target: *mut usize) -> Result<()> {
    if count == 0 || all.is_null() || target.is_null() {
        return Err(Status::INVALID_PARAMETER);
    }
    if with(|state| Ok(state.events.tpl()))? != Tpl::APPLICATION {
        return Err(Status::UNSUPPORTED);
    }
    loop {
        for index in 0..count {
            // SAFETY: the caller passes this many events.
            let found = unsafe { read(all.wrapping_add(index)) }?;
            match check(event(found)) {
                Ok(false) => (),
                result => {
                    // SAFETY: not null, so valid by the contract of the service.
                    unsafe { write(target, index) }?;
                    return result.map(drop);
                }
            }
        }
        with(|state| {
            state.platform.idle();
            Ok(())
        })?;
    }
}

/// Creates the event of keys: waiting for it looks for input.
pub(crate) fn key_event(state: &mut State) -> Result<u64> {
    let notify = Notify {
        function: address(signal_keys as *const ()),
        context: 0,
    };
    let kind = EventKind::NOTIFY_WAIT.bits();
    let event = state.events.create(&NewEvent {
        kind,
        tpl: Tpl::NOTIFY,
        notify: Some(notify),
        group: None,
    })?;
    Ok(event.0)
}

/// Notification function of the event of keys.
unsafe extern "efiapi" fn signal_keys(signal: Event, _: *mut c_void) {
    // Without a firmware nobody waits.
    let _ = with(|state| {
        let now = state.poll();
        if state.keys.is_ready(now) {
            state.events.signal(event(signal))?;
        }
        Ok(())
    });
}
