//! Services that search the handle database, UEFI 2.10 section 7.3.
#![expect(unsafe_code, reason = "services called by images")]

use alloc::vec::Vec;
use core::ffi::c_void;

use efi_core::device_path::DevicePath;
use efi_core::guids::DEVICE_PATH;
use efi_core::handles::{Handle as CoreHandle, Registration, Search, nearest_device_path};
use efi_core::memory::MemoryType;
use efi_core::{Guid, Result, Status};
use uefi_raw::protocol::device_path::DevicePathProtocol;
use uefi_raw::{Event, Handle, Status as RawStatus};

use crate::access::{address, device_path, guid, pointer, read, reply, write};
use crate::state::{State, with};

/// `RegisterProtocolNotify`.
pub(super) unsafe extern "efiapi" fn register_protocol_notify(
    protocol: *const Guid,
    event: Event,
    target: *mut *mut c_void,
) -> RawStatus {
    if target.is_null() {
        return reply::<()>(Err(Status::INVALID_PARAMETER));
    }
    // SAFETY: the caller passes null or a valid pointer.
    let protocol = unsafe { guid(protocol) };
    reply(protocol.and_then(|protocol| {
        with(|state| {
            let event = efi_core::events::Event(address(event));
            if !state.events.is_valid(event) {
                return Err(Status::INVALID_PARAMETER);
            }
            let key = state.handles.register(protocol, event.0)?;
            // SAFETY: not null, so valid by the contract of the service.
            unsafe { write(target, pointer(key.0)) }
        })
    }))
}

/// The search of `LocateHandle`: 0 all, 1 by registration, 2 by protocol.
///
/// # Safety
///
/// `protocol` is null or valid for a read.
unsafe fn search(kind: i32, protocol: *const Guid, key: *const c_void) -> Result<Search> {
    match kind {
        0 => Ok(Search::All),
        1 if !key.is_null() => Ok(Search::Registration(Registration(address(key)))),
        // SAFETY: the contract is the same.
        2 => Ok(Search::Protocol(unsafe { guid(protocol) }?)),
        _ => Err(Status::INVALID_PARAMETER),
    }
}

/// Writes handles to a buffer.
///
/// # Safety
///
/// `target` is null or valid for writes of all handles.
unsafe fn write_handles(target: *mut Handle, handles: &[CoreHandle]) -> Result<()> {
    for (index, handle) in handles.iter().enumerate() {
        // SAFETY: the buffer has room for all handles by the contract.
        unsafe { write(target.wrapping_add(index), pointer(handle.0)) }?;
    }
    Ok(())
}

/// `LocateHandle`.
pub(super) unsafe extern "efiapi" fn locate_handle(
    kind: i32,
    protocol: *const Guid,
    key: *const c_void,
    size: *mut usize,
    target: *mut Handle,
) -> RawStatus {
    // SAFETY: the caller passes null or valid pointers.
    reply(unsafe { locate(kind, protocol, key, size, target) })
}

unsafe fn locate(
    kind: i32,
    protocol: *const Guid,
    key: *const c_void,
    size: *mut usize,
    target: *mut Handle,
) -> Result<()> {
    // SAFETY: null or valid by the contract of the service.
    let search = unsafe { search(kind, protocol, key) }?;
    with(|state| {
        // A search without a match is NOT_FOUND also where there is no size.
        let found = state.handles.locate(search)?;
        // SAFETY: as above.
        let room = unsafe { read(size) }?;
        let needed = found.len() * size_of::<Handle>();
        // SAFETY: as above.
        unsafe { write(size, needed) }?;
        if room < needed {
            return Err(Status::BUFFER_TOO_SMALL);
        }
        // SAFETY: the buffer has room for all handles.
        unsafe { write_handles(target, &found) }?;
        if let Search::Registration(registration) = search {
            state.handles.advance(registration);
        }
        Ok(())
    })
}

/// `LocateHandleBuffer`: the caller frees the buffer.
pub(super) unsafe extern "efiapi" fn locate_handle_buffer(
    kind: i32,
    protocol: *const Guid,
    key: *const c_void,
    count: *mut usize,
    target: *mut *mut Handle,
) -> RawStatus {
    // SAFETY: the caller passes null or valid pointers.
    reply(unsafe { locate_buffer(kind, protocol, key, count, target) })
}

unsafe fn locate_buffer(
    kind: i32,
    protocol: *const Guid,
    key: *const c_void,
    count: *mut usize,
    target: *mut *mut Handle,
) -> Result<()> {
    if count.is_null() || target.is_null() {
        return Err(Status::INVALID_PARAMETER);
    }
    // SAFETY: null or valid by the contract of the service.
    let search = unsafe { search(kind, protocol, key) }?;
    with(|state| {
        let found = state.handles.locate(search).inspect_err(|_| {
            // SAFETY: not null, so valid by the contract of the service.
            let _ = unsafe { write(count, 0) };
            // SAFETY: as above.
            let _ = unsafe { write(target, core::ptr::null_mut()) };
        })?;
        let size = found.len() * size_of::<Handle>();
        let buffer = pointer::<Handle>(state.memory.allocate(MemoryType::BOOT_SERVICES_DATA, size)?);
        // SAFETY: the buffer has room for all handles.
        unsafe { write_handles(buffer, &found) }?;
        if let Search::Registration(registration) = search {
            state.handles.advance(registration);
        }
        // SAFETY: not null, so valid by the contract of the service.
        unsafe { write(count, found.len()) }?;
        // SAFETY: as above.
        unsafe { write(target, buffer) }
    })
}

/// `LocateProtocol`.
pub(super) unsafe extern "efiapi" fn locate_protocol(
    protocol: *const Guid,
    key: *const c_void,
    target: *mut *mut c_void,
) -> RawStatus {
    if target.is_null() {
        return reply::<()>(Err(Status::INVALID_PARAMETER));
    }
    // SAFETY: the caller passes null or a valid pointer.
    let result = unsafe { guid(protocol) }.and_then(|protocol| {
        let registration = (!key.is_null()).then(|| Registration(address(key)));
        with(|state| state.handles.locate_protocol(protocol, registration))
    });
    let interface = result.map_or(core::ptr::null_mut(), pointer);
    // SAFETY: not null, so valid by the contract of the service.
    let written = unsafe { write(target, interface) };
    reply(result.and(written))
}

/// The device path that is installed on a handle.
pub(crate) fn device_path_of(state: &State, handle: CoreHandle) -> Option<DevicePath<'static>> {
    let interface = state.handles.interface(handle, DEVICE_PATH).ok()?;
    // SAFETY: who installs the protocol keeps a device path at the address until it is removed; it is only used while the
    // state is lent, so nobody removes it meanwhile.
    unsafe { device_path(pointer::<u8>(interface)) }.ok()
}

/// `LocateDevicePath`: the handle and the length of the matching part.
pub(super) fn nearest(state: &State, protocol: Guid, path: DevicePath<'_>) -> Result<(CoreHandle, usize)> {
    let handles: Vec<CoreHandle> = state.handles.locate(Search::Protocol(protocol))?;
    let candidates = handles
        .into_iter()
        .filter_map(|handle| Some((handle, device_path_of(state, handle)?)));
    nearest_device_path(candidates, path)
}

/// `LocateDevicePath`.
pub(super) unsafe extern "efiapi" fn locate_device_path(
    protocol: *const Guid,
    path: *mut *const DevicePathProtocol,
    target: *mut Handle,
) -> RawStatus {
    // SAFETY: the caller passes null or valid pointers.
    reply(unsafe { locate_path(protocol, path, target) })
}

unsafe fn locate_path(
    protocol: *const Guid,
    path: *mut *const DevicePathProtocol,
    target: *mut Handle,
) -> Result<()> {
    // SAFETY: null or valid by the contract of the service.
    let protocol = unsafe { guid(protocol) }?;
    // SAFETY: as above.
    let start = unsafe { read(path) }?;
    // SAFETY: as above.
    let wanted = unsafe { device_path(start.cast::<u8>()) }?;
    let (handle, len) = with(|state| nearest(state, protocol, wanted))?;
    // SAFETY: as above.
    unsafe { write(target, pointer(handle.0)) }?;
    // SAFETY: as above.
    unsafe { write(path, start.wrapping_byte_add(len)) }
}
