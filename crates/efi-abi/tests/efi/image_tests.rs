//! `LoadImage`, `StartImage`, `Exit`, `UnloadImage`.
#![expect(unsafe_code, reason = "services are called by their pointers, and images run")]

use std::ffi::c_void;
use std::mem::offset_of;
use std::ptr::{null, null_mut};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use efi_abi::raw::protocol::device_path::DevicePathProtocol;
use efi_abi::raw::protocol::loaded_image::LoadedImageProtocol;
use efi_abi::raw::protocol::media::LoadFile2Protocol;
use efi_abi::raw::table::boot::{BootServices, InterfaceType, MemoryType};
use efi_abi::raw::table::system::SystemTable;
use efi_abi::raw::{Boolean, Handle, Status};
use efi_abi::{Guid, ImageSource, Status as CoreStatus, guids};
use efi_core::device_path::DevicePathBuf;
use efi_core::guid;
use efi_core::memory::Attributes;

use crate::images::{application, image};
use crate::machine::{Machine, text};

/// The boot services of an image.
fn boot(system: *mut SystemTable) -> &'static BootServices {
    // SAFETY: the firmware passes its system table.
    unsafe { &*(*system).boot_services }
}

static SEEN: AtomicU64 = AtomicU64::new(0);

unsafe extern "efiapi" fn returns(handle: Handle, system: *mut SystemTable) -> Status {
    let mut interface = null_mut::<c_void>();
    // SAFETY: the pointers are valid.
    let status = unsafe { (boot(system).handle_protocol)(handle, &guids::LOADED_IMAGE, &raw mut interface) };
    if status != Status::SUCCESS {
        return status;
    }
    // SAFETY: the protocol has this interface.
    let loaded = unsafe { &*interface.cast::<LoadedImageProtocol>() };
    // SAFETY: the options of the test are 4 bytes.
    let options = unsafe { loaded.load_options.cast::<[u8; 4]>().read_unaligned() };
    if loaded.system_table != system.cast_const() || loaded.load_options_size != 4 || &options != b"opts" {
        return Status::ABORTED;
    }
    SEEN.store(loaded.image_base.addr() as u64, Ordering::Relaxed);
    Status::WARN_STALE_DATA
}

#[test]
fn an_image_runs_and_returns_its_status() {
    let machine = Machine::new();
    let before = machine
        .firmware
        .memory_map(|map| Ok(map.descriptors().collect::<Vec<_>>()))
        .unwrap();
    let file = application(returns);
    let handle = machine
        .firmware
        .load_image(ImageSource::Bytes(&file, None))
        .unwrap();
    let protections = std::mem::take(&mut machine.log().protections);
    machine.firmware.set_load_options(handle, b"opts").unwrap();
    let exited = machine.firmware.start_image(handle).unwrap();
    assert_eq!(
        (exited.status.0, exited.data.len()),
        (Status::WARN_STALE_DATA.0, 0)
    );
    let base = SEEN.load(Ordering::Relaxed);
    let (headers, code) = (
        (base, 0x1000, Attributes::RO | Attributes::XP),
        (base + 0x1000, 0x1000, Attributes::RO),
    );
    assert!(
        protections.contains(&headers) && protections.contains(&code),
        "{protections:x?}"
    );
    assert_eq!(
        machine.firmware.start_image(handle),
        Err(CoreStatus::INVALID_PARAMETER)
    );
    // All memory of the image is free again but the load options, which belong to the starter.
    let after = machine
        .firmware
        .memory_map(|map| Ok(map.descriptors().collect::<Vec<_>>()))
        .unwrap();
    let code = |list: &[efi_core::memory::Descriptor]| list.iter().filter(|d| d.kind.0 == 1).count();
    assert_eq!((code(&before), code(&after)), (0, 0));
}

#[test]
fn files_that_are_no_images_are_refused_with_a_reason() {
    let machine = Machine::new();
    let check = |change: &dyn Fn(&mut Vec<u8>), expected: CoreStatus, message: &str| {
        let mut file = application(returns);
        change(&mut file);
        let free = || {
            machine
                .firmware
                .memory_map(|map| Ok(map.descriptors().collect::<Vec<_>>()))
                .unwrap()
        };
        let before = free();
        assert_eq!(
            machine.firmware.load_image(ImageSource::Bytes(&file, None)),
            Err(expected)
        );
        assert_eq!(free(), before);
        let output = machine.output();
        assert!(output.contains(message), "{output}");
    };
    check(
        &|file| file[0] = 0,
        CoreStatus::UNSUPPORTED,
        "image: not a PE image",
    );
    check(
        &|file| file[0xdc] = 1,
        CoreStatus::UNSUPPORTED,
        "no EFI application",
    );
    check(
        &|file| file[0x84..0x86].copy_from_slice(&[0x4c, 1]),
        CoreStatus::UNSUPPORTED,
        "an image for x86",
    );
    check(&|file| file.truncate(0x210), CoreStatus::LOAD_ERROR, "image: ");
    let path = DevicePathBuf::new();
    let missing = machine.firmware.load_image(ImageSource::Path(path.as_path()));
    assert_eq!(missing, Err(CoreStatus::NOT_FOUND));
}

static DEPTH: AtomicUsize = AtomicUsize::new(0);

/// Exits with data of the pool, from inside of another function.
unsafe extern "efiapi" fn exits(handle: Handle, system: *mut SystemTable) -> Status {
    #[inline(never)]
    fn deeper(handle: Handle, system: *mut SystemTable, levels: usize) -> Status {
        if levels > 0 {
            let status = deeper(handle, system, levels - 1);
            DEPTH.fetch_add(1, Ordering::Relaxed);
            return status;
        }
        let mut data = null_mut::<u8>();
        // SAFETY: the pointer is valid.
        let status = unsafe { (boot(system).allocate_pool)(MemoryType::LOADER_DATA, 8, &raw mut data) };
        if status != Status::SUCCESS {
            return status;
        }
        let reason = text("bye");
        // SAFETY: the buffer has room for the text.
        unsafe { std::ptr::copy_nonoverlapping(reason.as_ptr().cast(), data, 8) };
        drop(reason);
        // SAFETY: the handle is that of this image.
        unsafe { (boot(system).exit)(handle, Status::ABORTED, 8, data.cast()) }
    }
    deeper(handle, system, 5)
}

/// Starts another image, which exits, twice.
unsafe extern "efiapi" fn starts_another(parent: Handle, system: *mut SystemTable) -> Status {
    let file = application(exits);
    for _ in 0..2 {
        let mut child = null_mut();
        // SAFETY: the pointers are valid.
        let status = unsafe {
            (boot(system).load_image)(
                Boolean::FALSE,
                parent,
                null(),
                file.as_ptr(),
                file.len(),
                &raw mut child,
            )
        };
        if status != Status::SUCCESS {
            return status;
        }
        // SAFETY: this image is not the child.
        if unsafe { (boot(system).unload_image)(parent) } != Status::UNSUPPORTED {
            return Status::DEVICE_ERROR;
        }
        let (mut size, mut data) = (0, null_mut());
        // SAFETY: the pointers are valid.
        let status = unsafe { (boot(system).start_image)(child, &raw mut size, &raw mut data) };
        // SAFETY: the child returns a text of this size.
        if status != Status::ABORTED || size != 8 || unsafe { data.read() } != u16::from(b'b') {
            return Status::DEVICE_ERROR;
        }
        // SAFETY: the buffer is of the pool.
        if unsafe { (boot(system).free_pool)(data.cast()) } != Status::SUCCESS {
            return Status::DEVICE_ERROR;
        }
    }
    Status::SUCCESS
}

#[test]
fn exit_returns_to_the_starter_past_all_frames() {
    let machine = Machine::new();
    let file = application(exits);
    let handle = machine
        .firmware
        .load_image(ImageSource::Bytes(&file, None))
        .unwrap();
    let exited = machine.firmware.start_image(handle).unwrap();
    assert_eq!(exited.status, CoreStatus::ABORTED);
    let expected: Vec<u8> = text("bye").into_iter().flat_map(u16::to_le_bytes).collect();
    assert_eq!(exited.data, expected);

    let file = application(starts_another);
    let handle = machine
        .firmware
        .load_image(ImageSource::Bytes(&file, None))
        .unwrap();
    assert_eq!(
        machine.firmware.start_image(handle).unwrap().status,
        CoreStatus::SUCCESS
    );
    assert_eq!(DEPTH.load(Ordering::Relaxed), 0, "no frame of the image returned");
}

static UNLOADED: AtomicUsize = AtomicUsize::new(0);

unsafe extern "efiapi" fn unload(_: Handle) -> Status {
    if UNLOADED.fetch_add(1, Ordering::Relaxed) == 0 {
        Status::ACCESS_DENIED
    } else {
        Status::SUCCESS
    }
}

/// Function of a driver that unloads it.
type Unload = Option<unsafe extern "efiapi" fn(Handle) -> Status>;

/// A driver that can be unloaded.
unsafe extern "efiapi" fn driver(handle: Handle, system: *mut SystemTable) -> Status {
    let mut interface = null_mut::<c_void>();
    // SAFETY: the pointers are valid.
    let status = unsafe { (boot(system).handle_protocol)(handle, &guids::LOADED_IMAGE, &raw mut interface) };
    if status != Status::SUCCESS {
        return status;
    }
    let field = interface.wrapping_byte_add(offset_of!(LoadedImageProtocol, unload));
    // SAFETY: the field is writable.
    unsafe { field.cast::<Unload>().write(Some(unload)) };
    Status::SUCCESS
}

#[test]
fn drivers_stay_until_they_are_unloaded() {
    let machine = Machine::new();
    let file = image(driver, 11);
    let handle = machine
        .firmware
        .load_image(ImageSource::Bytes(&file, None))
        .unwrap();
    assert_eq!(
        machine.firmware.start_image(handle).unwrap().status,
        CoreStatus::SUCCESS
    );
    assert_eq!(
        machine.firmware.unload_image(handle),
        Err(CoreStatus::ACCESS_DENIED)
    );
    assert_eq!(machine.firmware.unload_image(handle), Ok(()));
    assert_eq!(
        machine.firmware.unload_image(handle),
        Err(CoreStatus::INVALID_PARAMETER)
    );
    // An image that was not started.
    let handle = machine
        .firmware
        .load_image(ImageSource::Bytes(&file, None))
        .unwrap();
    let raw: Handle = std::ptr::without_provenance_mut(handle.0.try_into().unwrap());
    // SAFETY: the handle is valid.
    let status = unsafe { (machine.boot().exit)(raw, Status::SUCCESS, 0, null_mut()) };
    assert_eq!(status, Status::SUCCESS);
    assert_eq!(
        machine.firmware.unload_image(handle),
        Err(CoreStatus::INVALID_PARAMETER)
    );
}

const MEDIA: Guid = guid!("5568e427-68fc-4f3d-ac74-ca555231cc68");

/// Provides an image as `LoadFile2`, and calls a service: the state is not lent meanwhile.
unsafe extern "efiapi" fn load_file(
    _: *mut LoadFile2Protocol,
    path: *const DevicePathProtocol,
    policy: Boolean,
    size: *mut usize,
    buffer: *mut c_void,
) -> Status {
    // SAFETY: the path ends with an end node.
    if unsafe { (*path).major_type.0 } != 0x7f || policy.is_true() {
        return Status::INVALID_PARAMETER;
    }
    let file = application(exits);
    // SAFETY: the pointer is valid.
    let room = unsafe { size.replace(file.len()) };
    if buffer.is_null() || room < file.len() {
        return Status::BUFFER_TOO_SMALL;
    }
    // SAFETY: the buffer has room.
    unsafe { std::ptr::copy_nonoverlapping(file.as_ptr(), buffer.cast(), file.len()) };
    Status::SUCCESS
}

#[test]
fn images_come_from_devices_that_provide_them() {
    let machine = Machine::new();
    let boot = machine.boot();
    let mut path = DevicePathBuf::new();
    path.push_vendor_media(MEDIA, &[]).unwrap();
    let path = path.into_bytes();
    let provider = LoadFile2Protocol { load_file };
    let mut device = null_mut();
    let pairs = [
        (guids::DEVICE_PATH, path.as_ptr().cast::<c_void>()),
        (guids::LOAD_FILE2, std::ptr::from_ref(&provider).cast()),
    ];
    for (protocol, interface) in pairs {
        // SAFETY: the interfaces live as long as the machine.
        let status = unsafe {
            (boot.install_protocol_interface)(
                &raw mut device,
                &raw const protocol,
                InterfaceType::NATIVE_INTERFACE,
                interface,
            )
        };
        assert_eq!(status, Status::SUCCESS);
    }
    let file = application(starts_another);
    let parent = machine
        .firmware
        .load_image(ImageSource::Bytes(&file, None))
        .unwrap();
    let parent: Handle = std::ptr::without_provenance_mut(parent.0.try_into().unwrap());
    let mut child = null_mut();
    // SAFETY: the pointers are valid.
    let mut load = |policy| unsafe {
        (boot.load_image)(policy, parent, path.as_ptr().cast(), null(), 0, &raw mut child)
    };
    assert_eq!(load(Boolean::TRUE), Status::NOT_FOUND);
    assert_eq!(load(Boolean::FALSE), Status::SUCCESS);
    // SAFETY: the handle is that of the loaded image.
    let status = unsafe { (boot.start_image)(child, null_mut(), null_mut()) };
    assert_eq!(status, Status::ABORTED);
}
