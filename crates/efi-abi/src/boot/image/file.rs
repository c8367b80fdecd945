//! Files of images: from a volume of the firmware or of an image, or from a device with `LoadFile2` or `LoadFile`.
#![expect(unsafe_code, reason = "devices of images provide files by their interfaces")]

use alloc::string::String;
use alloc::vec::Vec;
use core::ffi::c_void;
use core::mem::offset_of;

use efi_core::device_path::{DevicePath, DevicePathBuf};
use efi_core::guids::{DEVICE_PATH, LOAD_FILE, LOAD_FILE2, SIMPLE_FILE_SYSTEM};
use efi_core::handles::{Handle, Search};
use efi_core::memory::{MemoryType, PAGE_SIZE, Placement};
use efi_core::{Result, Status};
use uefi_raw::protocol::device_path::DevicePathProtocol;
use uefi_raw::protocol::media::LoadFile2Protocol;
use uefi_raw::{Boolean, Status as RawStatus};

use super::origin::Origin;
use super::place::place;
use super::volume;
use crate::access::{bytes, field, pointer, read};
use crate::boot::search::{device_path_of, nearest};
use crate::state::{State, with};

/// `LoadFile` of `EFI_LOAD_FILE_PROTOCOL` and `EFI_LOAD_FILE2_PROTOCOL`.
type LoadFile = unsafe extern "efiapi" fn(
    this: *mut LoadFile2Protocol,
    file_path: *const DevicePathProtocol,
    boot_policy: Boolean,
    size: *mut usize,
    buffer: *mut c_void,
) -> RawStatus;

/// The origin by a device path; a path on no device has none.
pub(super) fn origin(state: &State, path: DevicePath<'_>) -> Origin {
    match nearest(state, DEVICE_PATH, path) {
        Ok((device, len)) => split(device, len, path),
        Err(_) => Origin {
            device: None,
            file: Some(path.into()),
            path: Some(path.into()),
        },
    }
}

/// The origin on a device whose path has this length.
fn split(device: Handle, len: usize, path: DevicePath<'_>) -> Origin {
    let rest = path.as_bytes().get(len..).unwrap_or(&[]);
    let file = DevicePath::parse(rest).unwrap_or(DevicePath::EMPTY);
    Origin {
        device: Some(device),
        file: Some(file.into()),
        path: Some(path.into()),
    }
}

/// The handle of the volume of a path, and the whole path. A path may begin with the partition, UEFI 2.10 section 3.1.2.
fn find_volume(state: &State, path: DevicePath<'_>) -> Option<(Handle, DevicePathBuf)> {
    if let Ok((handle, len)) = nearest(state, SIMPLE_FILE_SYSTEM, path) {
        return Some((handle, path.into())).filter(|_| len > 0);
    }
    let handles = state.handles.locate(Search::Protocol(SIMPLE_FILE_SYSTEM)).ok()?;
    for handle in handles {
        let Some(device) = device_path_of(state, handle) else {
            continue;
        };
        let Some(partition) = device.from_node(|node| (node.kind, node.subtype) == (4, 1)) else {
            continue;
        };
        if let Some(rest) = path.strip_prefix(partition) {
            let mut whole = DevicePathBuf::from(device);
            whole.append(rest).ok()?;
            return Some((handle, whole));
        }
    }
    None
}

/// A volume with a file.
struct OnVolume {
    /// The interface of the volume.
    interface: u64,
    origin: Origin,
    /// Path of the file on the volume, with `\`.
    name: Vec<u16>,
}

/// The volume and the file of a path; `None` if the path is on no volume.
fn on_volume(state: &State, path: DevicePath<'_>) -> Result<Option<OnVolume>> {
    let Some((handle, whole)) = find_volume(state, path) else {
        return Ok(None);
    };
    let path = whole.as_path();
    let device = device_path_of(state, handle).ok_or(Status::NOT_FOUND)?;
    let origin = split(handle, device.without_end().len(), path);
    let file = origin.file.as_ref();
    Ok(Some(OnVolume {
        interface: state.handles.interface(handle, SIMPLE_FILE_SYSTEM)?,
        name: file.map(|file| file.as_path().file_path()).unwrap_or_default(),
        origin,
    }))
}

/// Loads a file of a volume of the firmware or of an image; `None` if the path is on no volume.
pub(super) fn load_from_volume(parent: Handle, path: DevicePath<'_>) -> Result<Option<Handle>> {
    let Some(found) = with(|state| on_volume(state, path))? else {
        return Ok(None);
    };
    if let Some(loaded) = with(|state| load_from_own_volume(state, parent, &found))? {
        return Ok(Some(loaded));
    }
    let mut name = found.name;
    name.push(0);
    let content = volume::read_file(found.interface, &name)?;
    // SAFETY: the image has filled the pages, which nobody else has.
    let image = unsafe { bytes(pointer(content.start), content.len) }?;
    with(|state| place(state, parent, &image, &found.origin)).map(Some)
}

/// Loads a file of a volume of the firmware; `None` if the volume is one of an image.
fn load_from_own_volume(state: &mut State, parent: Handle, found: &OnVolume) -> Result<Option<Handle>> {
    let Ok(volume) = state.storage.volume(found.interface) else {
        return Ok(None);
    };
    let name = String::from_utf16_lossy(&found.name).replace('\\', "/");
    let node = volume.file_system.lookup(&name).or(Err(Status::DEVICE_ERROR))?;
    let node = node.filter(disk::Node::is_file).ok_or(Status::NOT_FOUND)?;
    let source = volume.file_system.open(&node).or(Err(Status::DEVICE_ERROR))?;
    place(state, parent, &*source, &found.origin).map(Some)
}

/// Loads an image that a device provides, for example one of systemd-stub. Its function is called without a borrow.
pub(super) fn load_from_device(parent: Handle, path: DevicePath<'_>, is_boot_option: bool) -> Result<Handle> {
    let find = |protocol| with(|state| nearest(state, protocol, path)).map(|found| (protocol, found));
    let found = if is_boot_option {
        Err(Status::NOT_FOUND)
    } else {
        find(LOAD_FILE2)
    };
    let (protocol, (device, len)) = found.or_else(|_| find(LOAD_FILE)).or(Err(Status::NOT_FOUND))?;
    let origin = split(device, len, path);
    let interface = with(|state| state.handles.interface(device, protocol))?;
    let interface = pointer::<LoadFile2Protocol>(interface);
    // SAFETY: the interface of the protocol has this layout; both protocols have the same.
    let function = unsafe { read(field(interface, offset_of!(LoadFile2Protocol, load_file))) }?;
    let function: LoadFile = function;
    let file = origin.file.clone().unwrap_or_default();
    let file = file.as_path().as_bytes().as_ptr().cast();
    let policy = Boolean::from(is_boot_option);
    let mut size = 0;
    // SAFETY: the contract of the protocol: a null buffer asks for the size.
    let status = unsafe { function(interface, file, policy, &raw mut size, core::ptr::null_mut()) };
    if status != RawStatus::BUFFER_TOO_SMALL || size == 0 {
        return Err(if status.is_error() {
            Status(status.0)
        } else {
            Status::LOAD_ERROR
        });
    }
    let pages = (size as u64).div_ceil(PAGE_SIZE);
    let kind = MemoryType::BOOT_SERVICES_DATA;
    let buffer = with(|state| state.memory.map.allocate(Placement::Any, kind, pages))?;
    // SAFETY: the contract of the protocol: the buffer has this size.
    let status = unsafe { function(interface, file, policy, &raw mut size, pointer(buffer)) };
    let loaded = if status == RawStatus::SUCCESS && size as u64 <= pages * PAGE_SIZE {
        // SAFETY: the provider has filled the buffer, which nobody else has.
        unsafe { bytes(pointer(buffer), size) }
            .and_then(|image| with(|state| place(state, parent, &image, &origin)))
    } else {
        Err(Status::LOAD_ERROR)
    };
    let freed = with(|state| state.memory.map.free(buffer, pages));
    loaded.and_then(|loaded| freed.map(|()| loaded))
}
