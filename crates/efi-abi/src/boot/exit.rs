//! `ExitBootServices`, UEFI 2.10 section 7.4.6.
#![expect(unsafe_code, reason = "a service called by images")]

use alloc::vec::Vec;

use efi_core::events::Tpl;
use efi_core::guids::{
    EVENT_BEFORE_EXIT_BOOT_SERVICES, EVENT_EXIT_BOOT_SERVICES, EVENT_VIRTUAL_ADDRESS_CHANGE,
};
use efi_core::{Result, Status};
use uefi_raw::{Handle, Status as RawStatus};

use crate::access::reply;
use crate::notify::dispatch;
use crate::runtime::{self, VirtualEvent};
use crate::state::{remove, with};

/// `ExitBootServices`. The handle is not checked: only the key can be wrong by the specification, and GRUB starts kernels on handles
/// of its own.
pub(super) unsafe extern "efiapi" fn exit_boot_services(_image: Handle, key: usize) -> RawStatus {
    reply(exit(key as u64))
}

fn exit(key: u64) -> Result<()> {
    with(|state| {
        if !state.is_exiting {
            state.is_exiting = true;
            state.events.signal_group(EVENT_BEFORE_EXIT_BOOT_SERVICES);
        }
        Ok(())
    })?;
    dispatch(Tpl::APPLICATION)?;
    with(|state| {
        // Timers stop also if the key is old, so that the next call has fewer reasons to fail.
        state.events.stop_timers();
        if state.memory.map.key() != key {
            return Err(Status::INVALID_PARAMETER);
        }
        // Access rights can have changed since the map was read, without a change of the map.
        state.attributes_table.update(&state.memory)?;
        state.events.signal_group(EVENT_EXIT_BOOT_SERVICES);
        Ok(())
    })?;
    dispatch(Tpl::APPLICATION)?;
    with(|state| {
        state.platform.exit_boot_services();
        let events: Vec<_> = state
            .events
            .group_notifications(EVENT_VIRTUAL_ADDRESS_CHANGE)
            .map(|notification| VirtualEvent {
                event: notification.event.0,
                function: notification.notify.function,
                context: notification.notify.context,
            })
            .collect();
        runtime::exit_boot_services(events.into_iter())
    })?;
    // The state is in boot services memory, which belongs to the operating system from now on: it is left as it is.
    core::mem::forget(remove()?);
    Ok(())
}
