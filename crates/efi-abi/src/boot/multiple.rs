//! `InstallMultipleProtocolInterfaces` and its reverse: the arguments are an array, which the architecture's assembly makes.
#![expect(unsafe_code, reason = "services called by images")]

use alloc::vec::Vec;

use efi_core::device_path::DevicePath;
use efi_core::guids::DEVICE_PATH;
use efi_core::handles::{Handle as CoreHandle, Pair, Search};
use efi_core::{Guid, Result, Status};
use uefi_raw::{Handle, Status as RawStatus};

use super::handles::{handle, some};
use super::protocols::remove;
use super::search::device_path_of;
use crate::access::{address, device_path, guid, pointer, read, reply, write};
use crate::notify::dispatch_pending;
use crate::state::{State, with};

/// Protocols in one call; more are refused.
const MAX_PAIRS: usize = 64;

/// The pairs of GUID and interface after the first argument, up to a null pointer.
///
/// # Safety
///
/// The array ends with a null pointer in place of a GUID.
unsafe fn pairs(arguments: *const usize) -> Result<Vec<Pair>> {
    let mut pairs = Vec::new();
    let mut next = arguments.wrapping_add(1);
    loop {
        // SAFETY: the array goes on up to a null pointer by the contract.
        let protocol = unsafe { read(next.cast::<*const Guid>()) }?;
        if protocol.is_null() {
            return Ok(pairs);
        }
        if pairs.len() == MAX_PAIRS {
            return Err(Status::OUT_OF_RESOURCES);
        }
        // SAFETY: not null, so valid by the contract of the service.
        let protocol = unsafe { guid(protocol) }?;
        // SAFETY: an interface follows each GUID.
        let interface = unsafe { read(next.wrapping_add(1).cast::<*const ()>()) }?;
        pairs.push((protocol, address(interface)));
        next = next.wrapping_add(2);
    }
}

/// `InstallMultipleProtocolInterfaces(Handle, ...)`.
///
/// # Safety
///
/// `arguments` is the array of all arguments.
pub(crate) unsafe extern "efiapi" fn install(arguments: *const usize) -> RawStatus {
    // SAFETY: the contract is the same.
    reply(unsafe { try_install(arguments) })
}

unsafe fn try_install(arguments: *const usize) -> Result<()> {
    // SAFETY: the first argument is a pointer to a handle.
    let target = unsafe { read(arguments.cast::<*mut Handle>()) }?;
    // SAFETY: null or valid by the contract of the service.
    let old = unsafe { read(target) }?;
    // SAFETY: the contract is the same.
    let pairs = unsafe { pairs(arguments) }?;
    let new = with(|state| {
        for (protocol, interface) in &pairs {
            if *protocol == DEVICE_PATH {
                // SAFETY: the caller installs a device path at this address.
                let path = unsafe { device_path(pointer::<u8>(*interface)) }?;
                if has_device_path(state, path) {
                    return Err(Status::ALREADY_STARTED);
                }
            }
        }
        let new = state.handles.install_multiple(some(old), &pairs)?;
        state.signal_registrations();
        Ok(new)
    })?;
    // SAFETY: null or valid by the contract of the service.
    unsafe { write(target, pointer(new.0)) }?;
    dispatch_pending()
}

/// True if a handle has this device path.
fn has_device_path(state: &State, path: DevicePath<'_>) -> bool {
    let handles: Vec<CoreHandle> = state
        .handles
        .locate(Search::Protocol(DEVICE_PATH))
        .unwrap_or_default();
    handles
        .into_iter()
        .any(|handle| device_path_of(state, handle) == Some(path))
}

/// `UninstallMultipleProtocolInterfaces(Handle, ...)`.
///
/// # Safety
///
/// `arguments` is the array of all arguments.
pub(crate) unsafe extern "efiapi" fn uninstall(arguments: *const usize) -> RawStatus {
    // SAFETY: the first argument is a handle.
    let owner = unsafe { read(arguments.cast::<Handle>()) };
    // SAFETY: the contract is the same.
    let pairs = unsafe { pairs(arguments) };
    reply(owner.and_then(|owner| {
        let pairs = pairs?;
        // The only error of the service, also for one protocol; UninstallProtocolInterface has more.
        remove(handle(owner), &pairs).or(Err(Status::INVALID_PARAMETER))
    }))
}
