//! Loading of an image into memory and its protocols.
#![expect(unsafe_code, reason = "images and interfaces are written to allocated memory")]

use alloc::format;
use core::ffi::c_void;

use boot_core::SizedSource;
use efi_core::device_path::DevicePathBuf;
use efi_core::guids::{LOADED_IMAGE, LOADED_IMAGE_DEVICE_PATH};
use efi_core::handles::Handle;
use efi_core::images::{Image, ImageKind, State as ImageState};
use efi_core::memory::{Attributes, MemoryType, PAGE_SIZE, Placement};
use efi_core::{Result, Status};
use fmt_pe::pe::PeFile;
use fmt_pe::pe::load::ImageLayout;
use uefi_raw::protocol::loaded_image::LoadedImageProtocol;
use uefi_raw::table::boot::MemoryType as RawType;

use super::origin::Origin;
use crate::access::{bytes_mut, copy, pointer, write};
use crate::arch::MACHINE;
use crate::state::{Loaded, State};

/// Version of `EFI_LOADED_IMAGE_PROTOCOL`.
const REVISION: u32 = 0x1000;

/// Loads an image from its file, and installs its protocols on a new handle.
pub(super) fn place(
    state: &mut State,
    parent: Handle,
    source: &dyn disk::ByteSource,
    origin: &Origin,
) -> Result<Handle> {
    let source = SizedSource::new(source).or(Err(Status::DEVICE_ERROR))?;
    let refused = |state: &mut State, reason: &str, status| {
        let text = format!("{}: {reason}\r\n", origin.name());
        state.platform.write_console(text.as_bytes());
        Err(status)
    };
    let pe = match PeFile::parse(source) {
        Ok(Some(pe)) => pe,
        Ok(None) => return refused(state, "not a PE image", Status::UNSUPPORTED),
        Err(error) => return refused(state, &format!("{error}"), Status::LOAD_ERROR),
    };
    let layout = match ImageLayout::new(&pe) {
        Ok(layout) => layout,
        Err(error) => return refused(state, &format!("{error}"), Status::UNSUPPORTED),
    };
    let Some(kind) = ImageKind::from_subsystem(layout.subsystem.0) else {
        return refused(state, "not an EFI image", Status::UNSUPPORTED);
    };
    if layout.machine.0 != MACHINE {
        return refused(
            state,
            &format!("an image for {}", layout.machine),
            Status::UNSUPPORTED,
        );
    }
    let (code, data) = match kind {
        ImageKind::Application => (MemoryType::LOADER_CODE, MemoryType::LOADER_DATA),
        ImageKind::BootDriver => (MemoryType::BOOT_SERVICES_CODE, MemoryType::BOOT_SERVICES_DATA),
        ImageKind::RuntimeDriver => (
            MemoryType::RUNTIME_SERVICES_CODE,
            MemoryType::RUNTIME_SERVICES_DATA,
        ),
    };
    let pages = u64::from(layout.size).div_ceil(PAGE_SIZE);
    let base = match layout.required_address {
        Some(address) => state.memory.map.allocate(Placement::At(address), code, pages)?,
        None => state
            .memory
            .allocate_aligned(code, pages, u64::from(layout.alignment) / PAGE_SIZE)?,
    };
    let len = usize::try_from(pages * PAGE_SIZE).or(Err(Status::OUT_OF_RESOURCES))?;
    // SAFETY: the pages were just allocated, so nobody else uses them.
    let memory = unsafe { bytes_mut(pointer(base), len) }?;
    if let Err(error) = layout.load(&pe, memory, base) {
        state.memory.map.free(base, pages)?;
        return refused(state, &format!("{error}"), Status::LOAD_ERROR);
    }
    state.platform.sync_code(base, pages * PAGE_SIZE);
    protect(state, &layout, base, pages);
    let image = Image {
        parent: Some(parent),
        kind,
        entry: base + u64::from(layout.entry),
        base,
        pages,
        state: ImageState::Loaded,
        return_point: 0,
    };
    let result = install(state, image, origin, (code, data), u64::from(layout.size));
    if result.is_err() {
        let platform = &mut *state.platform;
        state.memory.free_pages(platform, base, pages)?;
    }
    result
}

/// Sets the access rights of an image that is made for it. A platform without page tables refuses, which is no error.
fn protect(state: &mut State, layout: &ImageLayout, base: u64, pages: u64) {
    if !layout.is_nx_compatible {
        return;
    }
    for region in &layout.regions {
        let mut attributes = Attributes::empty();
        attributes.set(Attributes::RP, !region.permissions.read);
        attributes.set(Attributes::RO, !region.permissions.write);
        attributes.set(Attributes::XP, !region.permissions.execute);
        let start = u64::from(region.range.start());
        let end = u64::from(region.range.end())
            .next_multiple_of(PAGE_SIZE)
            .min(pages * PAGE_SIZE);
        let is_whole = start.is_multiple_of(PAGE_SIZE) && start < end;
        if attributes.is_empty() || !is_whole {
            continue;
        }
        if state
            .platform
            .protect(base + start, end - start, attributes)
            .is_ok()
        {
            // The range is one of whole pages and the attributes are those of accesses.
            let _ = state
                .memory
                .protections
                .set(base + start, end - start, attributes);
        }
    }
}

/// Copies a device path to the pool: its address, or 0 without a path.
fn copy_path(state: &mut State, path: Option<&DevicePathBuf>) -> Result<u64> {
    let Some(path) = path else { return Ok(0) };
    let path = path.as_path().as_bytes();
    let address = state
        .memory
        .allocate(MemoryType::BOOT_SERVICES_DATA, path.len())?;
    // SAFETY: the piece has room for the path.
    unsafe { copy(pointer(address), path) }?;
    Ok(address)
}

/// Installs the protocols of a loaded image.
fn install(
    state: &mut State,
    image: Image,
    origin: &Origin,
    (code, data): (MemoryType, MemoryType),
    size: u64,
) -> Result<Handle> {
    let file_path = copy_path(state, origin.file.as_ref())?;
    let device_path = copy_path(state, origin.path.as_ref())?;
    let interface = state
        .memory
        .allocate(MemoryType::BOOT_SERVICES_DATA, size_of::<LoadedImageProtocol>())?;
    let value = LoadedImageProtocol {
        revision: REVISION,
        parent_handle: pointer(image.parent.map_or(0, |parent| parent.0)),
        system_table: pointer(state.addresses.system_table),
        device_handle: pointer(origin.device.map_or(0, |device| device.0)),
        file_path: pointer(file_path),
        reserved: core::ptr::null(),
        load_options_size: 0,
        load_options: core::ptr::null(),
        image_base: pointer::<c_void>(image.base),
        image_size: size,
        image_code_type: RawType(code.0),
        image_data_type: RawType(data.0),
        unload: None,
    };
    // SAFETY: the piece has room for the interface.
    unsafe { write(pointer(interface), value) }?;
    let pairs = [(LOADED_IMAGE, interface), (LOADED_IMAGE_DEVICE_PATH, device_path)];
    let handle = state.handles.install_multiple(None, &pairs)?;
    state.signal_registrations();
    state.images.add(handle, image)?;
    state.loaded.insert(
        handle,
        Loaded {
            interface,
            file_path,
            device_path,
        },
    );
    Ok(handle)
}
