//! Protocol services, UEFI 2.10 section 7.3, but those that search.
#![expect(unsafe_code, reason = "services called by images")]

use core::ffi::c_void;

use efi_core::handles::{Handle as CoreHandle, OpenAttributes, Pair};
use efi_core::memory::MemoryType;
use efi_core::{Guid, Result, Status};
use uefi_raw::table::boot::{InterfaceType, OpenProtocolInformationEntry};
use uefi_raw::{Handle, Status as RawStatus};

use super::drivers::{reconnect, release};
use super::handles::{handle, some};
use crate::access::{address, guid, pointer, read, reply, write};
use crate::notify::dispatch_pending;
use crate::state::with;

/// `InstallProtocolInterface`.
pub(super) unsafe extern "efiapi" fn install_protocol_interface(
    target: *mut Handle,
    protocol: *const Guid,
    kind: InterfaceType,
    interface: *const c_void,
) -> RawStatus {
    // SAFETY: the caller passes null or valid pointers.
    reply(unsafe { install(target, protocol, kind, interface) })
}

unsafe fn install(
    target: *mut Handle,
    protocol: *const Guid,
    kind: InterfaceType,
    interface: *const c_void,
) -> Result<()> {
    // SAFETY: null or valid by the contract of the service.
    let old = unsafe { read(target) }?;
    // SAFETY: as above.
    let protocol = unsafe { guid(protocol) }?;
    if kind != InterfaceType::NATIVE_INTERFACE {
        return Err(Status::INVALID_PARAMETER);
    }
    let new = with(|state| {
        let new = state.handles.install(some(old), protocol, address(interface))?;
        state.signal_registrations();
        Ok(new)
    })?;
    // SAFETY: as above.
    unsafe { write(target, pointer(new.0)) }?;
    dispatch_pending()
}

/// `ReinstallProtocolInterface`.
pub(super) unsafe extern "efiapi" fn reinstall_protocol_interface(
    owner: Handle,
    protocol: *const Guid,
    old: *const c_void,
    new: *const c_void,
) -> RawStatus {
    // SAFETY: the caller passes null or a valid pointer.
    let protocol = unsafe { guid(protocol) };
    reply(protocol.and_then(|protocol| replace(handle(owner), protocol, address(old), address(new))))
}

/// Replaces an interface: its drivers are stopped before and connected again after it.
fn replace(owner: CoreHandle, protocol: Guid, old: u64, new: u64) -> Result<()> {
    check_interface(owner, protocol, old)?;
    let is_released = release(owner, protocol)?;
    let result = with(|state| {
        state.handles.reinstall(owner, protocol, old, new)?;
        state.signal_registrations();
        Ok(())
    });
    if result.is_ok() {
        dispatch_pending()?;
    }
    if result.is_ok() || is_released {
        reconnect(owner);
    }
    result
}

/// Checks that a handle has an interface, before drivers are stopped for it.
fn check_interface(owner: CoreHandle, protocol: Guid, interface: u64) -> Result<()> {
    with(|state| match state.handles.interface(owner, protocol) {
        Ok(found) if found == interface => Ok(()),
        Err(Status::INVALID_PARAMETER) => Err(Status::INVALID_PARAMETER),
        Ok(_) | Err(_) => Err(Status::NOT_FOUND),
    })
}

/// Removes interfaces: all of them, or none. Their drivers are stopped before.
pub(super) fn remove(owner: CoreHandle, pairs: &[Pair]) -> Result<()> {
    let mut is_released = false;
    for (protocol, interface) in pairs {
        if check_interface(owner, *protocol, *interface).is_ok() {
            is_released |= release(owner, *protocol)?;
        }
    }
    let result = with(|state| state.handles.uninstall_multiple(owner, pairs));
    if result.is_err() && is_released {
        reconnect(owner);
    }
    result
}

/// `UninstallProtocolInterface`.
pub(super) unsafe extern "efiapi" fn uninstall_protocol_interface(
    owner: Handle,
    protocol: *const Guid,
    interface: *const c_void,
) -> RawStatus {
    // SAFETY: the caller passes null or a valid pointer.
    let protocol = unsafe { guid(protocol) };
    reply(protocol.and_then(|protocol| remove(handle(owner), &[(protocol, address(interface))])))
}

/// `HandleProtocol`.
pub(super) unsafe extern "efiapi" fn handle_protocol(
    owner: Handle,
    protocol: *const Guid,
    target: *mut *mut c_void,
) -> RawStatus {
    let attributes = OpenAttributes::BY_HANDLE_PROTOCOL.bits();
    let agent = with(|state| Ok(state.firmware.map_or(0, |firmware| firmware.0)));
    let agent = pointer(agent.unwrap_or(0));
    // SAFETY: the caller passes null or valid pointers.
    reply(unsafe { open(owner, protocol, target, agent, core::ptr::null_mut(), attributes) })
}

/// `OpenProtocol`.
pub(super) unsafe extern "efiapi" fn open_protocol(
    owner: Handle,
    protocol: *const Guid,
    target: *mut *mut c_void,
    agent: Handle,
    controller: Handle,
    attributes: u32,
) -> RawStatus {
    // SAFETY: the caller passes null or valid pointers.
    reply(unsafe { open(owner, protocol, target, agent, controller, attributes) })
}

unsafe fn open(
    owner: Handle,
    protocol: *const Guid,
    target: *mut *mut c_void,
    agent: Handle,
    controller: Handle,
    attributes: u32,
) -> Result<()> {
    let attributes = OpenAttributes::from_number(attributes)?;
    // SAFETY: null or valid by the contract of the service.
    let protocol = unsafe { guid(protocol) }?;
    let is_test = attributes.contains(OpenAttributes::TEST_PROTOCOL);
    if target.is_null() && !is_test {
        return Err(Status::INVALID_PARAMETER);
    }
    let try_open = || {
        with(|state| {
            state
                .handles
                .open(handle(owner), protocol, some(agent), some(controller), attributes)
        })
    };
    let mut result = try_open();
    if result == Err(Status::ACCESS_DENIED) && attributes.contains(OpenAttributes::EXCLUSIVE) {
        let is_exclusive = with(|state| {
            let opens = state.handles.open_information(handle(owner), protocol)?;
            let mut opens = opens.iter();
            Ok(opens.any(|open| open.attributes.contains(OpenAttributes::EXCLUSIVE)))
        })?;
        // Drivers give way to an exclusive user, other exclusive users do not.
        if !is_exclusive && release(handle(owner), protocol)? {
            result = try_open();
        }
    }
    let interface = match result {
        Ok(interface) => interface,
        Err(status) => {
            let interface = match status {
                Status::UNSUPPORTED => Some(0),
                // The driver that has the protocol gets it again.
                Status::ALREADY_STARTED => {
                    Some(with(|state| state.handles.interface(handle(owner), protocol))?)
                }
                _ => None,
            };
            if let Some(interface) = interface.filter(|_| !target.is_null()) {
                // SAFETY: not null, so valid by the contract of the service.
                unsafe { write(target, pointer(interface)) }?;
            }
            return Err(status);
        }
    };
    if is_test {
        return Ok(());
    }
    // SAFETY: as above.
    unsafe { write(target, pointer(interface)) }
}

/// `CloseProtocol`.
pub(super) unsafe extern "efiapi" fn close_protocol(
    owner: Handle,
    protocol: *const Guid,
    agent: Handle,
    controller: Handle,
) -> RawStatus {
    // SAFETY: the caller passes null or a valid pointer.
    let protocol = unsafe { guid(protocol) };
    reply(protocol.and_then(|protocol| {
        with(|state| {
            state
                .handles
                .close(handle(owner), protocol, handle(agent), some(controller))
        })
    }))
}

/// `OpenProtocolInformation`: the caller frees the buffer.
pub(super) unsafe extern "efiapi" fn open_protocol_information(
    owner: Handle,
    protocol: *const Guid,
    target: *mut *mut OpenProtocolInformationEntry,
    count: *mut usize,
) -> RawStatus {
    if target.is_null() || count.is_null() {
        return reply::<()>(Err(Status::INVALID_PARAMETER));
    }
    // SAFETY: the caller passes null or a valid pointer.
    let protocol = unsafe { guid(protocol) };
    reply(protocol.and_then(|protocol| {
        with(|state| {
            let records = state.handles.open_information(handle(owner), protocol)?.to_vec();
            let size = records.len() * size_of::<OpenProtocolInformationEntry>();
            let buffer = state.memory.allocate(MemoryType::BOOT_SERVICES_DATA, size)?;
            let buffer = pointer::<OpenProtocolInformationEntry>(buffer);
            for (index, record) in records.iter().enumerate() {
                let value = OpenProtocolInformationEntry {
                    agent_handle: pointer(record.agent),
                    controller_handle: pointer(record.controller),
                    attributes: record.attributes.bits(),
                    open_count: record.count,
                };
                // SAFETY: the buffer has room for all records.
                unsafe { write(buffer.wrapping_add(index), value) }?;
            }
            // SAFETY: not null, so valid by the contract of the service.
            unsafe { write(target, buffer) }?;
            // SAFETY: as above.
            unsafe { write(count, records.len()) }
        })
    }))
}

/// `ProtocolsPerHandle`: the caller frees the buffer of pointers, which point to the firmware's memory behind them.
pub(super) unsafe extern "efiapi" fn protocols_per_handle(
    owner: Handle,
    target: *mut *mut *const Guid,
    count: *mut usize,
) -> RawStatus {
    if target.is_null() || count.is_null() {
        return reply::<()>(Err(Status::INVALID_PARAMETER));
    }
    reply(with(|state| {
        let protocols: alloc::vec::Vec<Guid> = state.handles.protocols(handle(owner))?.collect();
        let len = protocols.len();
        // The GUIDs are behind the pointers, so that one FreePool frees both.
        let size = len * (size_of::<*const Guid>() + size_of::<Guid>());
        let buffer = state.memory.allocate(MemoryType::BOOT_SERVICES_DATA, size)?;
        let pointers = pointer::<*const Guid>(buffer);
        let guids = pointers.wrapping_add(len).cast::<Guid>();
        for (index, guid) in protocols.into_iter().enumerate() {
            let place = guids.wrapping_add(index);
            // SAFETY: the buffer has room for all of them.
            unsafe { write(place, guid) }?;
            // SAFETY: as above.
            unsafe { write(pointers.wrapping_add(index), place.cast_const()) }?;
        }
        // SAFETY: not null, so valid by the contract of the service.
        unsafe { write(target, pointers) }?;
        // SAFETY: as above.
        unsafe { write(count, len) }
    }))
}
