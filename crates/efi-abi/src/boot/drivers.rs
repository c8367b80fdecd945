//! The driver model: `ConnectController`, `DisconnectController`, and the drivers of a protocol that goes away, UEFI 2.10 section 7.3.
//!
//! All drivers are those of images. Their functions are called without a borrow of the state, and may call every service; what they
//! leave behind is looked at again after each call.
#![expect(unsafe_code, reason = "services called by images, and calls of their drivers")]

use alloc::vec;
use alloc::vec::Vec;
use core::mem::offset_of;

use efi_core::guids::DRIVER_BINDING;
use efi_core::handles::{DriverSearch, Handle as CoreHandle, Search};
use efi_core::{Guid, Result, Status};
use uefi_raw::protocol::device_path::DevicePathProtocol;
use uefi_raw::protocol::driver::DriverBindingProtocol as Binding;
use uefi_raw::{Boolean, Handle, Status as RawStatus};

use super::handles::{handle, some};
use crate::access::{field, pointer, read, reply};
use crate::state::{State, with};

/// `Supported` and `Start`.
type Function = unsafe extern "efiapi" fn(*const Binding, Handle, *const DevicePathProtocol) -> RawStatus;
/// `Stop`.
type Stop = unsafe extern "efiapi" fn(*const Binding, Handle, usize, *const Handle) -> RawStatus;

/// Drivers that a caller names; the rest of a longer list is ignored.
const MAX_NAMED: usize = 1024;
/// Controllers that one call connects.
const MAX_CONTROLLERS: usize = 4096;

/// The driver binding on a handle.
fn binding(state: &State, driver: CoreHandle) -> Option<*mut Binding> {
    let interface = state.handles.interface(driver, DRIVER_BINDING).ok()?;
    Some(pointer::<Binding>(interface)).filter(|interface| !interface.is_null())
}

/// A field of a driver binding.
fn read_field<T: Copy>(binding: *mut Binding, offset: usize) -> Result<T> {
    // SAFETY: who installs the protocol keeps its interface at the address; callers ask for fields of it.
    unsafe { read(field(binding, offset)) }
}

/// Calls `Supported` or `Start`, the function at this offset, of a driver; true if it returns success.
fn call(
    driver: CoreHandle,
    offset: usize,
    controller: CoreHandle,
    rest: *const DevicePathProtocol,
) -> Result<bool> {
    let Some(binding) = with(|state| Ok(binding(state, driver)))? else {
        return Ok(false);
    };
    let function: Function = read_field(binding, offset)?;
    // SAFETY: the contract of the protocol; the path is that of the caller of ConnectController.
    let status = unsafe { function(binding, pointer(controller.0), rest) };
    Ok(status == RawStatus::SUCCESS)
}

/// Connects drivers to one controller.
fn connect_one(controller: CoreHandle, named: &[CoreHandle], rest: *const DevicePathProtocol) -> Result<()> {
    let mut search = with(|state| {
        let all = state.handles.locate(Search::Protocol(DRIVER_BINDING))?;
        let version = |driver: &CoreHandle| {
            let binding = binding(state, *driver)?;
            Some((*driver, read_field(binding, offset_of!(Binding, version)).ok()?))
        };
        let all: Vec<_> = all.iter().filter_map(version).collect();
        let is_driver = |driver: &&CoreHandle| all.iter().any(|(other, _)| other == *driver);
        let named: Vec<_> = named.iter().filter(is_driver).copied().collect();
        Ok(DriverSearch::new(&named, &all))
    })?;
    let mut is_connected = false;
    while let Some(driver) = search.next_driver() {
        // A driver may have removed the controller.
        if !with(|state| Ok(state.handles.is_valid(controller)))? {
            break;
        }
        if call(driver, offset_of!(Binding, supported), controller, rest)? {
            search.start();
            is_connected |= call(driver, offset_of!(Binding, start), controller, rest)?;
        }
    }
    if is_connected || is_end(rest) {
        Ok(())
    } else {
        Err(Status::NOT_FOUND)
    }
}

/// True for a path that is only an end node: no child is asked for.
fn is_end(path: *const DevicePathProtocol) -> bool {
    // SAFETY: null or a device path by the contract of the service; its first node has four bytes.
    let node = unsafe { read(path.cast::<[u8; 2]>()) };
    node == Ok([0x7f, 0xff])
}

/// Connects drivers to a controller, and to its children and theirs if `recursive` is set.
///
/// # Safety
///
/// `rest` is null or points to a device path.
unsafe fn connect(
    controller: CoreHandle,
    named: &[CoreHandle],
    rest: *const DevicePathProtocol,
    recursive: bool,
) -> Result<()> {
    if !with(|state| Ok(state.handles.is_valid(controller)))? {
        return Err(Status::INVALID_PARAMETER);
    }
    let result = connect_one(controller, named, rest);
    if recursive {
        let mut all = vec![controller];
        let mut next = 0;
        while let Some(parent) = all.get(next).copied() {
            if next > 0 {
                // Children without a driver are no error.
                let _ = connect_one(parent, &[], core::ptr::null());
            }
            next += 1;
            for child in with(|state| Ok(state.handles.children(parent, None)))? {
                let is_new = !all.contains(&child) && all.len() < MAX_CONTROLLERS;
                if is_new && with(|state| Ok(state.handles.is_valid(child)))? {
                    all.push(child);
                }
            }
        }
    }
    result
}

/// `ConnectController`.
pub(super) unsafe extern "efiapi" fn connect_controller(
    controller: Handle,
    named: *const Handle,
    rest: *const DevicePathProtocol,
    recursive: Boolean,
) -> RawStatus {
    let mut drivers = Vec::new();
    while !named.is_null() && drivers.len() < MAX_NAMED {
        // SAFETY: the list of the caller ends with null.
        match unsafe { read(named.wrapping_add(drivers.len())) }.map(some) {
            Ok(Some(driver)) => drivers.push(driver),
            Ok(None) | Err(_) => break,
        }
    }
    // SAFETY: the caller passes null or a device path.
    reply(unsafe { connect(handle(controller), &drivers, rest, recursive.is_true()) })
}

/// `DisconnectController`.
pub(super) unsafe extern "efiapi" fn disconnect_controller(
    controller: Handle,
    driver: Handle,
    child: Handle,
) -> RawStatus {
    reply(disconnect(handle(controller), some(driver), some(child)))
}

/// Stops the drivers of a controller, or one of them, for all children or for one.
pub(super) fn disconnect(
    controller: CoreHandle,
    driver: Option<CoreHandle>,
    child: Option<CoreHandle>,
) -> Result<()> {
    let managing = with(|state| {
        let is_valid = |handle: &CoreHandle| state.handles.is_valid(*handle);
        let is_driver = driver.is_none_or(|driver| binding(state, driver).is_some());
        if !is_valid(&controller) || !child.iter().all(is_valid) || !is_driver {
            return Err(Status::INVALID_PARAMETER);
        }
        let mut managing = state.handles.managing_drivers(controller);
        managing.retain(|agent| driver.is_none_or(|driver| driver == *agent));
        Ok(managing)
    })?;
    if managing.is_empty() {
        return Ok(());
    }
    let mut result = Err(Status::NOT_FOUND);
    for agent in managing {
        match stop(agent, controller, child) {
            Ok(true) => result = Ok(()),
            Ok(false) => (),
            Err(status) => result = result.or(Err(status)),
        }
    }
    result
}

/// Stops a driver; false if it has not the child.
fn stop(agent: CoreHandle, controller: CoreHandle, child: Option<CoreHandle>) -> Result<bool> {
    let (binding, children) = with(|state| {
        let binding = binding(state, agent);
        Ok((binding, state.handles.children(controller, Some(agent))))
    })?;
    let Some(binding) = binding else { return Ok(false) };
    let stopped: Vec<_> = match child {
        Some(child) if !children.contains(&child) => return Ok(false),
        Some(child) => vec![child],
        None => children.clone(),
    };
    let function: Stop = read_field(binding, offset_of!(Binding, stop))?;
    let call = |children: &[Handle]| {
        // SAFETY: the contract of the protocol: the array has this length.
        let status = unsafe { function(binding, pointer(controller.0), children.len(), children.as_ptr()) };
        if status == RawStatus::SUCCESS {
            Ok(())
        } else {
            Err(Status::DEVICE_ERROR)
        }
    };
    if !stopped.is_empty() {
        let handles: Vec<Handle> = stopped.iter().map(|child| pointer(child.0)).collect();
        call(&handles)?;
    }
    // The driver leaves the controller with its last child.
    if stopped.len() == children.len() {
        call(&[])?;
    }
    Ok(true)
}

/// Stops the drivers that use a protocol of a handle, before it is removed or opened exclusively. True if there was one. Those that
/// do not stop still use it.
pub(super) fn release(owner: CoreHandle, protocol: Guid) -> Result<bool> {
    let drivers = with(|state| Ok(state.handles.drivers_of_protocol(owner, protocol)))?;
    for (driver, _) in &drivers {
        // The use of the protocol is looked at again afterwards.
        let _ = disconnect(owner, Some(*driver), None);
    }
    Ok(!drivers.is_empty())
}

/// Connects the drivers of a handle again, after a protocol was replaced or could not be removed.
pub(super) fn reconnect(owner: CoreHandle) {
    // SAFETY: there is no path. A handle without drivers is no error.
    let _ = unsafe { connect(owner, &[], core::ptr::null(), true) };
}
