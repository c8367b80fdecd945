//! Protocol services, UEFI 2.10 section 7.3, but those that search.
#![expect(unsafe_code, reason = "services called by images")]

use core::ffi::c_void;

use efi_core::handles::{Handle as CoreHandle, OpenAttributes};
use efi_core::memory::MemoryType;
use efi_core::{Guid, Result, Status};
use uefi_raw::protocol::device_path::DevicePathProtocol;
use uefi_raw::table::boot::{InterfaceType, OpenProtocolInformationEntry};
use uefi_raw::{Boolean, Handle, Status as RawStatus};

use crate::access::{address, guid, pointer, read, reply, write};
use crate::notify::dispatch_pending;
use crate::state::with;

/// A handle that is not null.
pub(super) fn some(handle: Handle) -> Option<CoreHandle> {
    (!handle.is_null()).then(|| CoreHandle(address(handle)))
}

/// A handle; null is invalid.
pub(super) fn handle(handle: Handle) -> CoreHandle {
    CoreHandle(address(handle))
}

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
    let result = protocol.and_then(|protocol| {
        with(|state| {
            state
                .handles
                .reinstall(handle(owner), protocol, address(old), address(new))?;
            state.signal_registrations();
            Ok(())
        })
    });
    reply(result.and_then(|()| dispatch_pending()))
}

/// `UninstallProtocolInterface`.
pub(super) unsafe extern "efiapi" fn uninstall_protocol_interface(
    owner: Handle,
    protocol: *const Guid,
    interface: *const c_void,
) -> RawStatus {
    // SAFETY: the caller passes null or a valid pointer.
    let protocol = unsafe { guid(protocol) };
    reply(protocol.and_then(|protocol| {
        with(|state| {
            state
                .handles
                .uninstall(handle(owner), protocol, address(interface))
        })
    }))
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
    let result = with(|state| {
        state
            .handles
            .open(handle(owner), protocol, some(agent), some(controller), attributes)
    });
    let interface = match result {
        Ok(interface) => interface,
        Err(status) => {
            if status == Status::UNSUPPORTED && !target.is_null() {
                // SAFETY: not null, so valid by the contract of the service.
                unsafe { write(target, core::ptr::null_mut()) }?;
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

/// `ConnectController`: there are no drivers.
pub(super) unsafe extern "efiapi" fn connect_controller(
    controller: Handle,
    _: *const Handle,
    _: *const DevicePathProtocol,
    _: Boolean,
) -> RawStatus {
    reply(with(|state| state.handles.connect(handle(controller))))
}

/// `DisconnectController`: there are no drivers.
pub(super) unsafe extern "efiapi" fn disconnect_controller(
    controller: Handle,
    driver: Handle,
    child: Handle,
) -> RawStatus {
    reply(with(|state| {
        state
            .handles
            .disconnect(handle(controller), some(driver), some(child))
    }))
}
