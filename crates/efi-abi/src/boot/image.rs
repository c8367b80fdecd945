//! Image services, UEFI 2.10 section 7.4: `LoadImage`, `StartImage`, `Exit`, `UnloadImage`.
#![expect(
    unsafe_code,
    reason = "services called by images, and calls of their entry points"
)]

mod file;
mod origin;
mod place;
mod volume;

use core::ffi::c_void;
use core::mem::offset_of;

use efi_core::device_path::DevicePath;
use efi_core::guids::{LOADED_IMAGE, LOADED_IMAGE_DEVICE_PATH};
use efi_core::handles::Handle as CoreHandle;
use efi_core::images::{Exit, State as ImageState};
use efi_core::{Result, Status};
use uefi_raw::protocol::device_path::DevicePathProtocol;
use uefi_raw::protocol::loaded_image::LoadedImageProtocol;
use uefi_raw::{Boolean, Char16, Handle, Status as RawStatus};

use super::handles::handle;
use crate::access::{address, bytes, device_path, field, pointer, raw, read, reply, write};
use crate::arch::{call_image, return_from_image};
use crate::state::{ExitData, State, with};

/// Function of a driver that unloads it.
type Unload = unsafe extern "efiapi" fn(Handle) -> RawStatus;

/// Where an image comes from.
#[derive(Clone, Copy)]
pub(crate) enum ImageFile<'a> {
    /// Bytes, and the device path that the image is said to come from.
    Buffer(&'a [u8], Option<DevicePath<'a>>),
    /// A file or a device that provides the image; true for a boot option, which `LoadFile2` does not provide.
    Path(DevicePath<'a>, bool),
}

/// Loads an image: its handle.
pub(crate) fn load(parent: CoreHandle, file: ImageFile<'_>) -> Result<CoreHandle> {
    with(|state| {
        // GRUB starts images on handles of its own, which have the protocol.
        let is_image = state.handles.interface(parent, LOADED_IMAGE).is_ok();
        let is_parent = state.firmware == Some(parent) || is_image;
        if is_parent {
            Ok(())
        } else {
            Err(Status::INVALID_PARAMETER)
        }
    })?;
    match file {
        ImageFile::Buffer(bytes, path) => with(|state| {
            let origin = path.map(|path| file::origin(state, path)).unwrap_or_default();
            place::place(state, parent, &bytes, &origin)
        }),
        ImageFile::Path(path, is_boot_option) => {
            if let Some(loaded) = file::load_from_volume(parent, path)? {
                return Ok(loaded);
            }
            file::load_from_device(parent, path, is_boot_option)
        }
    }
}

/// `LoadImage`.
pub(super) unsafe extern "efiapi" fn load_image(
    boot_policy: Boolean,
    parent: Handle,
    path: *const DevicePathProtocol,
    source: *const u8,
    size: usize,
    target: *mut Handle,
) -> RawStatus {
    // SAFETY: the caller passes null or valid pointers.
    reply(unsafe { load_to(boot_policy, parent, path, source, size, target) })
}

unsafe fn load_to(
    boot_policy: Boolean,
    parent: Handle,
    path: *const DevicePathProtocol,
    source: *const u8,
    size: usize,
    target: *mut Handle,
) -> Result<()> {
    if target.is_null() {
        return Err(Status::INVALID_PARAMETER);
    }
    let path = if path.is_null() {
        None
    } else {
        // SAFETY: not null, so a device path by the contract of the service.
        Some(unsafe { device_path(path.cast::<u8>()) }?)
    };
    let file = match (source.is_null(), path) {
        // SAFETY: not null, so valid by the contract of the service.
        (false, path) => ImageFile::Buffer(unsafe { bytes(source, size) }?, path),
        (true, Some(path)) => ImageFile::Path(path, boot_policy.is_true()),
        (true, None) => return Err(Status::NOT_FOUND),
    };
    let loaded = load(handle(parent), file)?;
    // SAFETY: not null, so valid by the contract of the service.
    unsafe { write(target, pointer(loaded.0)) }
}

/// `StartImage`.
pub(super) unsafe extern "efiapi" fn start_image(
    image: Handle,
    exit_size: *mut usize,
    exit_data: *mut *mut Char16,
) -> RawStatus {
    let (status, data) = match start(handle(image)) {
        Ok(end) => end,
        Err(status) => return raw(status),
    };
    if !exit_size.is_null() {
        // SAFETY: not null, so valid by the contract of the service.
        let _ = unsafe { write(exit_size, data.size) };
    }
    if !exit_data.is_null() {
        // SAFETY: not null, so valid by the contract of the service.
        let _ = unsafe { write(exit_data, pointer(data.address)) };
    }
    raw(status)
}

/// Starts an image on the current stack and waits for its end: its status and its exit data.
pub(crate) fn start(image: CoreHandle) -> Result<(Status, ExitData)> {
    // The stack pointer for Exit is written by `call_image` before the image runs.
    let mut return_point = 0_usize;
    let (entry, table, tpl) = with(|state| {
        let entry = state.images.start(image)?;
        state
            .images
            .set_return_point(image, address(&raw mut return_point))?;
        state.exit_data = ExitData::default();
        Ok((entry, state.addresses.system_table, state.events.tpl()))
    })?;
    let number = |address: u64| pointer::<c_void>(address).addr();
    // SAFETY: the entry point is in the code of a loaded image, whose instructions were made visible. It may return by
    // `return_from_image`, which restores the same registers.
    let status = unsafe {
        call_image(
            number(image.0),
            number(table),
            number(entry),
            &raw mut return_point,
        )
    };
    let status = Status(status);
    with(|state| {
        state.events.set_tpl(tpl);
        let data = core::mem::take(&mut state.exit_data);
        match state.images.exit(image, status)? {
            Exit::Return { unload: true, .. } => discard(state, image)?,
            Exit::Return { unload: false, .. } | Exit::Unload => (),
        }
        Ok((status, data))
    })
}

/// `Exit`.
pub(super) unsafe extern "efiapi" fn exit(
    image: Handle,
    status: RawStatus,
    size: usize,
    data: *mut Char16,
) -> RawStatus {
    let image = handle(image);
    let found = with(|state| {
        let entry = *state.images.get(image).ok_or(Status::INVALID_PARAMETER)?;
        match entry.state {
            ImageState::Loaded => discard(state, image).map(|()| None),
            ImageState::Running if state.images.current() == Some(image) => {
                state.exit_data = ExitData {
                    size,
                    address: address(data),
                };
                Ok(Some(entry.return_point))
            }
            ImageState::Running | ImageState::Resident => Err(Status::INVALID_PARAMETER),
        }
    });
    let place = match found {
        Ok(Some(place)) => place,
        Ok(None) => return RawStatus::SUCCESS,
        Err(status) => return raw(status),
    };
    // SAFETY: the address is that of a variable of `start`, which has not returned because the image runs.
    let return_point = unsafe { read(pointer::<usize>(place)) };
    match return_point {
        // SAFETY: this is the innermost image that runs; the frames up to `call_image` are those of the image and this one,
        // which has nothing to drop.
        Ok(return_point) => unsafe { return_from_image(return_point, status.0) },
        Err(status) => raw(status),
    }
}

/// `UnloadImage`.
pub(super) unsafe extern "efiapi" fn unload_image(image: Handle) -> RawStatus {
    reply(unload(handle(image)))
}

/// Unloads an image; a resident driver is asked first.
pub(crate) fn unload(image: CoreHandle) -> Result<()> {
    let function = with(|state| {
        let entry = state.images.get(image).ok_or(Status::INVALID_PARAMETER)?;
        match entry.state {
            ImageState::Running => Err(Status::UNSUPPORTED),
            ImageState::Loaded => Ok(None),
            ImageState::Resident => {
                let loaded = state.loaded.get(&image).ok_or(Status::INVALID_PARAMETER)?;
                let interface = pointer::<LoadedImageProtocol>(loaded.interface);
                // SAFETY: the interface is in the pool as long as the image is loaded.
                let function = unsafe { read(field(interface, offset_of!(LoadedImageProtocol, unload))) }?;
                let function: Option<Unload> = function;
                function.ok_or(Status::UNSUPPORTED).map(Some)
            }
        }
    })?;
    if let Some(function) = function {
        // SAFETY: the image has set the function for this call.
        let status = unsafe { function(pointer(image.0)) };
        if status != RawStatus::SUCCESS {
            return Err(Status(status.0));
        }
    }
    with(|state| discard(state, image))
}

/// Removes an image that does not run, its protocols and its memory.
fn discard(state: &mut State, image: CoreHandle) -> Result<()> {
    let entry = state.images.remove(image)?;
    state.handles.close_all_of(image);
    let Some(loaded) = state.loaded.remove(&image) else {
        return Ok(());
    };
    let pairs = [
        (LOADED_IMAGE, loaded.interface),
        (LOADED_IMAGE_DEVICE_PATH, loaded.device_path),
    ];
    // An interface that somebody keeps open stays, with its memory.
    state.handles.uninstall_multiple(image, &pairs)?;
    for address in [loaded.interface, loaded.file_path, loaded.device_path] {
        if address != 0 {
            state.memory.free(address)?;
        }
    }
    let platform = &mut *state.platform;
    state.memory.free_pages(platform, entry.base, entry.pages)
}
