//! `InstallConfigurationTable`, UEFI 2.10 section 7.5.6.
#![expect(unsafe_code, reason = "services called by images")]

use core::ffi::c_void;

use efi_core::Guid;
use uefi_raw::Status as RawStatus;

use crate::access::{address, guid, reply};
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
