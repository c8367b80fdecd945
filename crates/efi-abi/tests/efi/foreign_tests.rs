//! Volumes that an image provides, and functions that are called for keys.
#![expect(unsafe_code, reason = "services are called by their pointers")]

use std::ffi::c_void;
use std::ptr::{from_ref, null_mut};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

use efi_abi::guids::{DEVICE_PATH, FILE_INFO, SIMPLE_FILE_SYSTEM};
use efi_abi::raw::protocol::console::{InputKey, KeyData, SimpleTextInputExProtocol};
use efi_abi::raw::protocol::file_system::{
    FileAttribute, FileMode, FileProtocolRevision, FileProtocolV1, SimpleFileSystemProtocol,
};
use efi_abi::raw::table::boot::{InterfaceType, Tpl};
use efi_abi::raw::table::system::SystemTable;
use efi_abi::raw::{Handle, Status};
use efi_abi::{Guid, ImageSource, guids};
use efi_core::device_path::DevicePathBuf;

use crate::images::application;
use crate::machine::Machine;

/// Files that are open.
static OPEN: AtomicUsize = AtomicUsize::new(0);
/// Length that `GetInfo` returns.
static SIZE: AtomicUsize = AtomicUsize::new(0);
/// The file.
static FILE: Mutex<Vec<u8>> = Mutex::new(Vec::new());
static POSITION: AtomicUsize = AtomicUsize::new(0);

unsafe extern "efiapi" fn open_volume(
    _: *mut SimpleFileSystemProtocol,
    root: *mut *mut FileProtocolV1,
) -> Status {
    OPEN.fetch_add(1, Ordering::Relaxed);
    // SAFETY: the caller passes a valid pointer.
    unsafe { root.write(new_file()) };
    Status::SUCCESS
}

fn new_file() -> *mut FileProtocolV1 {
    Box::into_raw(Box::new(FileProtocolV1 {
        revision: FileProtocolRevision::REVISION_1,
        open,
        close,
        delete: close,
        read,
        write,
        get_position,
        set_position,
        get_info,
        set_info,
        flush: refuse,
    }))
}

unsafe extern "efiapi" fn open(
    _: *mut FileProtocolV1,
    target: *mut *mut FileProtocolV1,
    name: *const u16,
    mode: FileMode,
    _: FileAttribute,
) -> Status {
    let wanted: Vec<u16> = "\\dir\\app.efi\0".encode_utf16().collect();
    // SAFETY: the name ends with NUL, which differs from the first unit that is not equal.
    let is_equal = (0..wanted.len()).all(|index| unsafe { *name.add(index) } == wanted[index]);
    if !is_equal || mode != FileMode::READ {
        return Status::NOT_FOUND;
    }
    OPEN.fetch_add(1, Ordering::Relaxed);
    POSITION.store(0, Ordering::Relaxed);
    // SAFETY: the caller passes a valid pointer.
    unsafe { target.write(new_file()) };
    Status::SUCCESS
}

unsafe extern "efiapi" fn close(file: *mut FileProtocolV1) -> Status {
    OPEN.fetch_sub(1, Ordering::Relaxed);
    // SAFETY: the file was made by `new_file`.
    drop(unsafe { Box::from_raw(file) });
    Status::SUCCESS
}

/// At most 300 bytes in one call.
unsafe extern "efiapi" fn read(_: *mut FileProtocolV1, size: *mut usize, buffer: *mut c_void) -> Status {
    let file = FILE.lock().unwrap();
    let start = POSITION.load(Ordering::Relaxed);
    // SAFETY: the caller passes a valid pointer.
    let len = unsafe { *size }.min(300).min(file.len() - start);
    // SAFETY: the caller's buffer has at least this size.
    unsafe { buffer.cast::<u8>().copy_from(file[start..].as_ptr(), len) };
    // SAFETY: as above.
    unsafe { *size = len };
    POSITION.store(start + len, Ordering::Relaxed);
    Status::SUCCESS
}

unsafe extern "efiapi" fn get_info(
    _: *mut FileProtocolV1,
    kind: *const Guid,
    size: *mut usize,
    buffer: *mut c_void,
) -> Status {
    // SAFETY: the caller passes a valid pointer.
    assert_eq!(unsafe { *kind }, FILE_INFO);
    // Longer than the first buffer of the firmware.
    let needed = 1000;
    // SAFETY: as above.
    let room = std::mem::replace(unsafe { &mut *size }, needed);
    if room < needed {
        return Status::BUFFER_TOO_SMALL;
    }
    // SAFETY: the buffer has room for ten numbers.
    let words = unsafe { std::slice::from_raw_parts_mut(buffer.cast::<u64>(), 10) };
    words.fill(0);
    words[1] = SIZE.load(Ordering::Relaxed) as u64;
    Status::SUCCESS
}

unsafe extern "efiapi" fn write(_: *mut FileProtocolV1, _: *mut usize, _: *const c_void) -> Status {
    Status::WRITE_PROTECTED
}

unsafe extern "efiapi" fn get_position(_: *const FileProtocolV1, _: *mut u64) -> Status {
    Status::UNSUPPORTED
}

unsafe extern "efiapi" fn set_position(_: *mut FileProtocolV1, _: u64) -> Status {
    Status::UNSUPPORTED
}

unsafe extern "efiapi" fn set_info(
    _: *mut FileProtocolV1,
    _: *const Guid,
    _: usize,
    _: *const c_void,
) -> Status {
    Status::WRITE_PROTECTED
}

unsafe extern "efiapi" fn refuse(_: *mut FileProtocolV1) -> Status {
    Status::WRITE_PROTECTED
}

unsafe extern "efiapi" fn return_aborted(_: Handle, _: *mut SystemTable) -> Status {
    Status::ABORTED
}

#[test]
fn images_are_loaded_from_volumes_of_images() {
    let machine = Machine::new();
    let mut device = DevicePathBuf::new();
    device.push_vendor_hardware(guids::RNG, &[1]).unwrap();
    let volume = SimpleFileSystemProtocol {
        revision: 0x10000,
        open_volume,
    };
    let mut handle = null_mut();
    let path = device.as_path().as_bytes().as_ptr();
    for (guid, interface) in [
        (DEVICE_PATH, path.cast()),
        (SIMPLE_FILE_SYSTEM, from_ref(&volume).cast()),
    ] {
        let native = InterfaceType::NATIVE_INTERFACE;
        // SAFETY: the pointers are valid.
        let status = unsafe {
            (machine.boot().install_protocol_interface)(&raw mut handle, &raw const guid, native, interface)
        };
        assert_eq!(status, Status::SUCCESS);
    }
    let file = application(return_aborted);
    SIZE.store(file.len(), Ordering::Relaxed);
    *FILE.lock().unwrap() = file;
    let load = |name: &str| {
        let mut path = device.clone();
        path.push_file_path(name).unwrap();
        machine.firmware.load_image(ImageSource::Path(path.as_path()))
    };
    let pages = |machine: &Machine| {
        machine.firmware.memory_map(|map| {
            Ok(map
                .descriptors()
                .map(|found| found.pages * u64::from(found.kind.0))
                .sum::<u64>())
        })
    };
    let image = load(r"\dir\app.efi").unwrap();
    assert_eq!(OPEN.load(Ordering::Relaxed), 0, "everything is closed");
    assert_eq!(
        machine.firmware.start_image(image).unwrap().status,
        efi_abi::Status::ABORTED
    );
    let before = pages(&machine);
    assert_eq!(load(r"\other.efi"), Err(efi_abi::Status::NOT_FOUND));
    // A volume that promises more than it has.
    SIZE.fetch_add(1, Ordering::Relaxed);
    assert_eq!(load(r"\dir\app.efi"), Err(efi_abi::Status::LOAD_ERROR));
    SIZE.store(0, Ordering::Relaxed);
    assert_eq!(load(r"\dir\app.efi"), Err(efi_abi::Status::LOAD_ERROR));
    SIZE.store(1 << 40, Ordering::Relaxed);
    assert_eq!(load(r"\dir\app.efi"), Err(efi_abi::Status::OUT_OF_RESOURCES));
    assert_eq!(OPEN.load(Ordering::Relaxed), 0);
    assert_eq!(pages(&machine), before, "no page is lost");
}

/// Number of calls, and the last key.
static CALLS: AtomicU32 = AtomicU32::new(0);
static KEY: AtomicU32 = AtomicU32::new(0);

unsafe extern "efiapi" fn on_key(data: *const KeyData) -> Status {
    // SAFETY: the firmware passes a valid pointer.
    let key = unsafe { (*data).key };
    CALLS.fetch_add(1, Ordering::Relaxed);
    KEY.store(
        u32::from(key.scan_code) << 16 | u32::from(key.unicode_char),
        Ordering::Relaxed,
    );
    Status::SUCCESS
}

#[test]
fn functions_are_called_for_their_keys() {
    let machine = Machine::new();
    let boot = machine.boot();
    let mut found = null_mut();
    // SAFETY: the pointers are valid.
    let status = unsafe { (boot.locate_protocol)(&guids::SIMPLE_TEXT_INPUT_EX, null_mut(), &raw mut found) };
    assert_eq!(status, Status::SUCCESS);
    let input = found.cast::<SimpleTextInputExProtocol>();
    // SAFETY: the interface of the protocol.
    let (register, unregister) = unsafe { ((*input).register_key_notify, (*input).unregister_key_notify) };
    let up = KeyData {
        key: InputKey {
            scan_code: 1,
            unicode_char: 0,
        },
        ..KeyData::default()
    };
    let mut handle = null_mut();
    // SAFETY: the pointers are valid or null.
    unsafe {
        assert_eq!(
            register(input, &raw const up, on_key, &raw mut handle),
            Status::SUCCESS
        );
        assert_eq!(
            register(input, std::ptr::null(), on_key, &raw mut handle),
            Status::INVALID_PARAMETER
        );
        assert_eq!(
            register(input, &raw const up, on_key, null_mut()),
            Status::INVALID_PARAMETER
        );
    }
    assert!(!handle.is_null());
    let calls = || CALLS.swap(0, Ordering::Relaxed);
    let mut key = KeyData::default();
    // SAFETY: the pointer is valid.
    let mut next = || unsafe { ((*input).read_key_stroke_ex)(input, &raw mut key) };
    machine.log().input.extend(*b"x\x1b[Ay");
    assert_eq!(next(), Status::SUCCESS);
    assert_eq!((calls(), KEY.load(Ordering::Relaxed)), (1, 1 << 16));
    assert_eq!(next(), Status::SUCCESS, "the key is in the queue as well");
    assert_eq!(next(), Status::SUCCESS);
    assert_eq!((next(), calls()), (Status::NOT_READY, 0));

    // At a high level the call waits until the level is lower.
    // SAFETY: no pointers.
    let old = unsafe { (boot.raise_tpl)(Tpl::CALLBACK) };
    machine.log().input.extend(*b"\x1b[A");
    assert_eq!((next(), calls()), (Status::SUCCESS, 0));
    // SAFETY: no pointers.
    unsafe { (boot.restore_tpl)(old) };
    assert_eq!(calls(), 1);

    // SAFETY: no pointers but the interface.
    unsafe {
        assert_eq!(unregister(input, null_mut()), Status::INVALID_PARAMETER);
        assert_eq!(unregister(input, handle), Status::SUCCESS);
        assert_eq!(unregister(input, handle), Status::INVALID_PARAMETER);
    }
    machine.log().input.extend(*b"\x1b[A");
    assert_eq!((next(), calls()), (Status::SUCCESS, 0));
}
