//! Handles, protocols, the console and other protocols of the firmware.
#![expect(unsafe_code, reason = "services are called by their pointers")]

use std::ffi::c_void;
use std::mem::transmute;
use std::ptr::{null, null_mut};

use efi_abi::raw::protocol::console::{InputKey, SimpleTextInputExProtocol};
use efi_abi::raw::protocol::device_path::{DevicePathProtocol, DevicePathToTextProtocol};
use efi_abi::raw::protocol::memory_protection::MemoryAttributeProtocol;
use efi_abi::raw::protocol::rng::RngProtocol;
use efi_abi::raw::table::boot::{AllocateType, InterfaceType, MemoryAttribute, MemoryType as RawType};
use efi_abi::raw::{Boolean, Handle, Status};
use efi_abi::{Guid, guids};
use efi_core::device_path::{DevicePath, DevicePathBuf};
use efi_core::guid;
use efi_core::memory::Attributes;

use crate::machine::{Machine, text};

const A: Guid = guid!("00000000-0000-0000-0000-00000000000a");
const B: Guid = guid!("00000000-0000-0000-0000-00000000000b");
const C: Guid = guid!("00000000-0000-0000-0000-00000000000c");

/// `InstallMultipleProtocolInterfaces` with three pairs: the convention is the same as with variable arguments.
type Install = unsafe extern "efiapi" fn(
    *mut Handle,
    *const Guid,
    usize,
    *const Guid,
    usize,
    *const Guid,
    usize,
    *const Guid,
) -> Status;

/// `UninstallMultipleProtocolInterfaces` with two pairs.
type Uninstall =
    unsafe extern "efiapi" fn(Handle, *const Guid, usize, *const Guid, usize, *const Guid) -> Status;

/// The first interface of a protocol.
pub(crate) fn locate<T>(machine: &Machine, protocol: Guid) -> Result<*mut T, Status> {
    let mut interface = null_mut::<c_void>();
    // SAFETY: the pointers are valid.
    let status = unsafe { (machine.boot().locate_protocol)(&raw const protocol, null(), &raw mut interface) };
    if status == Status::SUCCESS {
        Ok(interface.cast())
    } else {
        Err(status)
    }
}

#[test]
fn several_protocols_are_installed_by_variable_arguments() {
    let machine = Machine::new();
    let boot = machine.boot();
    // SAFETY: the functions take variable arguments by the convention of UEFI.
    let install: Install = unsafe { transmute(boot.install_multiple_protocol_interfaces as *const ()) };
    let mut handle = null_mut();
    let [a, b, c]: [*const Guid; 3] = [&A, &B, &C];
    // SAFETY: the pointers are valid, and null ends the list.
    assert_eq!(
        unsafe { install(&raw mut handle, a, 1, b, 2, c, 3, null()) },
        Status::SUCCESS
    );
    assert!(!handle.is_null());
    for (protocol, value) in [(A, 1), (B, 2), (C, 3)] {
        let mut interface = null_mut();
        // SAFETY: the pointers are valid.
        let status = unsafe { (boot.handle_protocol)(handle, &raw const protocol, &raw mut interface) };
        assert_eq!((status, interface.addr()), (Status::SUCCESS, value));
    }
    // SAFETY: as above.
    let again = unsafe { install(&raw mut handle, a, 1, null(), 0, null(), 0, null()) };
    assert_eq!(again, Status::INVALID_PARAMETER);

    // SAFETY: as above.
    let uninstall: Uninstall = unsafe { transmute(boot.uninstall_multiple_protocol_interfaces as *const ()) };
    // SAFETY: as above.
    assert_eq!(
        unsafe { uninstall(handle, a, 1, b, 9, null()) },
        Status::INVALID_PARAMETER
    );
    // SAFETY: as above.
    assert_eq!(unsafe { uninstall(handle, a, 1, b, 2, null()) }, Status::SUCCESS);
    assert_eq!(locate::<u8>(&machine, A), Err(Status::NOT_FOUND));
    assert_eq!(locate::<u8>(&machine, C).map(<*mut u8>::addr), Ok(3));
}

#[test]
fn a_device_path_is_installed_once() {
    let machine = Machine::new();
    // SAFETY: the function takes variable arguments by the convention of UEFI.
    let install: Install =
        unsafe { transmute(machine.boot().install_multiple_protocol_interfaces as *const ()) };
    let mut path = DevicePathBuf::new();
    path.push_vendor_media(A, &[]).unwrap();
    let path = path.into_bytes();
    let protocol: *const Guid = &guids::DEVICE_PATH;
    let interface = path.as_ptr().expose_provenance();
    let find = |guid: *const Guid| {
        let mut wanted = path.as_ptr().cast::<DevicePathProtocol>();
        let mut handle = null_mut();
        // SAFETY: the pointers are valid.
        let status = unsafe { (machine.boot().locate_device_path)(guid, &raw mut wanted, &raw mut handle) };
        (status, wanted.addr() - path.as_ptr().addr())
    };
    assert_eq!(find(&guids::LOAD_FILE2).0, Status::NOT_FOUND);
    let mut handles = [null_mut(); 2];
    // SAFETY: the pointers are valid, and the path lives longer than the machine uses it.
    let status = unsafe {
        install(
            &raw mut handles[0],
            protocol,
            interface,
            &guids::LOAD_FILE2,
            5,
            null(),
            0,
            null(),
        )
    };
    assert_eq!(status, Status::SUCCESS);
    // SAFETY: as above.
    let status = unsafe {
        install(
            &raw mut handles[1],
            protocol,
            interface,
            null(),
            0,
            null(),
            0,
            null(),
        )
    };
    assert_eq!(status, Status::ALREADY_STARTED);
    assert_eq!(find(&guids::LOAD_FILE2), (Status::SUCCESS, path.len() - 4));
    assert_eq!(find(&A).0, Status::NOT_FOUND);
}

#[test]
fn handles_are_located_and_opened() {
    let machine = Machine::new();
    let boot = machine.boot();
    let mut handle = null_mut();
    let native = InterfaceType::NATIVE_INTERFACE;
    // SAFETY: the pointers are valid.
    let status = unsafe {
        (boot.install_protocol_interface)(&raw mut handle, &A, native, std::ptr::without_provenance(7))
    };
    assert_eq!(status, Status::SUCCESS);
    let mut size = 0;
    let mut found = [null_mut(); 2];
    // SAFETY: the buffer has the size.
    let mut search =
        |size: &mut usize, kind| unsafe { (boot.locate_handle)(kind, &A, null(), size, found.as_mut_ptr()) };
    assert_eq!((search(&mut size, 2), size), (Status::BUFFER_TOO_SMALL, 8));
    assert_eq!(search(&mut size, 2), Status::SUCCESS);
    assert_eq!(search(&mut size, 3), Status::INVALID_PARAMETER);
    assert_eq!(search(&mut size, 1), Status::INVALID_PARAMETER);
    assert_eq!(found[0], handle);

    let (mut buffer, mut count) = (null_mut(), 0);
    // SAFETY: the pointers are valid.
    let status = unsafe { (boot.locate_handle_buffer)(0, null(), null(), &raw mut count, &raw mut buffer) };
    assert_eq!((status, count), (Status::SUCCESS, 3));
    // SAFETY: the buffer is of the pool.
    assert_eq!(unsafe { (boot.free_pool)(buffer.cast()) }, Status::SUCCESS);

    let mut guids = null_mut();
    // SAFETY: the pointers are valid.
    let status = unsafe { (boot.protocols_per_handle)(handle, &raw mut guids, &raw mut count) };
    assert_eq!((status, count), (Status::SUCCESS, 1));
    // SAFETY: the buffer has one pointer.
    assert_eq!(unsafe { **guids }, A);
    // SAFETY: the buffer is of the pool.
    assert_eq!(unsafe { (boot.free_pool)(guids.cast()) }, Status::SUCCESS);

    let mut interface = null_mut();
    // SAFETY: the pointers are valid.
    let mut open = |protocol: &Guid, attributes| unsafe {
        let status = (boot.open_protocol)(
            handle,
            protocol,
            &raw mut interface,
            handle,
            null_mut(),
            attributes,
        );
        (status, interface.addr())
    };
    assert_eq!(open(&A, 2), (Status::SUCCESS, 7));
    assert_eq!(open(&B, 2), (Status::UNSUPPORTED, 0));
    assert_eq!(open(&A, 3).0, Status::INVALID_PARAMETER);
    let mut records = null_mut();
    // SAFETY: the pointers are valid.
    let status = unsafe { (boot.open_protocol_information)(handle, &A, &raw mut records, &raw mut count) };
    assert_eq!((status, count), (Status::SUCCESS, 1));
    // SAFETY: the buffer has one record.
    let record = unsafe { &*records };
    assert_eq!(
        (record.agent_handle, record.attributes, record.open_count),
        (handle, 2, 1)
    );
    // SAFETY: the handles are valid.
    let close = || unsafe { (boot.close_protocol)(handle, &A, handle, null_mut()) };
    assert_eq!(close(), Status::SUCCESS);
    assert_eq!(close(), Status::NOT_FOUND);
    // SAFETY: the handle is valid.
    let status = unsafe { (boot.connect_controller)(handle, null(), null(), Boolean::TRUE) };
    assert_eq!(status, Status::NOT_FOUND);
}

#[test]
fn the_console_prints_and_reads_keys() {
    let machine = Machine::new();
    let (output, input) = (machine.system().stdout, machine.system().stdin);
    // SAFETY: the interfaces are valid as long as the machine.
    let (console, keyboard) = unsafe { (&*output, &*input) };
    // SAFETY: the text ends with NUL.
    let status = unsafe { (console.output_string)(output, text("Hällo\r\n").as_ptr()) };
    assert_eq!(
        (status, machine.output().as_str()),
        (Status::SUCCESS, "Hällo\r\n")
    );
    // SAFETY: the mode is valid.
    assert_eq!(
        unsafe { ((*console.mode).cursor_column, (*console.mode).cursor_row) },
        (0, 1)
    );
    // SAFETY: no pointers.
    assert_eq!(
        unsafe { (console.set_cursor_position)(output, 2, 3) },
        Status::SUCCESS
    );
    assert_eq!(machine.output(), "\x1b[4;3H");
    // SAFETY: no pointers.
    assert_eq!(
        unsafe { (console.set_cursor_position)(output, 80, 3) },
        Status::UNSUPPORTED
    );
    let (mut columns, mut rows) = (0, 0);
    // SAFETY: the pointers are valid.
    let mut query = |mode| unsafe { (console.query_mode)(output, mode, &raw mut columns, &raw mut rows) };
    assert_eq!(query(1), Status::UNSUPPORTED);
    assert_eq!(query(0), Status::SUCCESS);
    assert_eq!((columns, rows), (80, 25));
    // SAFETY: no pointers.
    assert_eq!(unsafe { (console.set_mode)(output, 1) }, Status::UNSUPPORTED);
    // SAFETY: a null pointer is refused.
    assert_eq!(
        unsafe { (console.output_string)(output, null()) },
        Status::INVALID_PARAMETER
    );

    let mut key = InputKey::default();
    // SAFETY: the pointer is valid.
    let mut next = || {
        (
            unsafe { (keyboard.read_key_stroke)(input, &raw mut key) },
            key.scan_code,
            key.unicode_char,
        )
    };
    assert_eq!(next().0, Status::NOT_READY);
    machine.log().input.extend(b"\x1b[Bq");
    assert_eq!(next(), (Status::SUCCESS, 2, 0));
    assert_eq!(next(), (Status::SUCCESS, 0, 0x71));
    let extended = locate::<SimpleTextInputExProtocol>(&machine, guids::SIMPLE_TEXT_INPUT_EX).unwrap();
    let mut key = efi_abi::raw::protocol::console::KeyData::default();
    machine.log().input.extend(b"z");
    // SAFETY: the interface and the pointer are valid.
    assert_eq!(
        unsafe { ((*extended).read_key_stroke_ex)(extended, &raw mut key) },
        Status::SUCCESS
    );
    assert_eq!(key.key.unicode_char, 0x7a);
}

#[test]
fn random_bytes_text_of_paths_and_protections() {
    let machine = Machine::new();
    let rng = locate::<RngProtocol>(&machine, guids::RNG).unwrap();
    let mut bytes = [0; 8];
    // SAFETY: the buffer has the size.
    assert_eq!(
        unsafe { ((*rng).get_rng)(rng, null(), 8, bytes.as_mut_ptr()) },
        Status::SUCCESS
    );
    assert_eq!(bytes, [0x5a; 8]);

    let to_text = locate::<DevicePathToTextProtocol>(&machine, guids::DEVICE_PATH_TO_TEXT).unwrap();
    let mut path = DevicePathBuf::new();
    path.push_pci_root(0).unwrap();
    path.push_pci(3, 0).unwrap();
    // SAFETY: the path is valid.
    let found = unsafe {
        ((*to_text).convert_device_path_to_text)(
            path.as_path().as_bytes().as_ptr().cast(),
            Boolean::FALSE,
            Boolean::FALSE,
        )
    };
    // SAFETY: the text has this length.
    let found = unsafe { std::slice::from_raw_parts(found, 25) };
    assert_eq!(found, text("PciRoot(0x0)/Pci(0x3,0x0)").get(..25).unwrap());
    assert!(DevicePath::EMPTY.is_empty());

    let protection = locate::<MemoryAttributeProtocol>(&machine, guids::MEMORY_ATTRIBUTE).unwrap();
    let mut start = 0;
    let kind = AllocateType::ANY_PAGES;
    // SAFETY: the pointer is valid.
    let status = unsafe { (machine.boot().allocate_pages)(kind, RawType::LOADER_DATA, 2, &raw mut start) };
    assert_eq!(status, Status::SUCCESS);
    machine.log().protections.clear();
    let (read_only, no_execute) = (MemoryAttribute::READ_ONLY, MemoryAttribute::EXECUTE_PROTECT);
    // SAFETY: the interface is valid.
    let set = |start, len, attributes| unsafe {
        ((*protection).set_memory_attributes)(protection, start, len, attributes)
    };
    assert_eq!(set(start, 0x1000, no_execute), Status::SUCCESS);
    assert_eq!(set(start, 0x2000, read_only), Status::SUCCESS);
    assert_eq!(set(0x1000, 0x1000, read_only), Status::UNSUPPORTED);
    assert_eq!(
        set(start, 0x2000, MemoryAttribute::WRITE_BACK),
        Status::INVALID_PARAMETER
    );
    let (ro, xp) = (Attributes::RO, Attributes::XP);
    let expected = [
        (start, 0x1000, xp),
        (start, 0x1000, ro | xp),
        (start + 0x1000, 0x1000, ro),
    ];
    assert_eq!(machine.log().protections, expected);
    let mut found = MemoryAttribute::empty();
    // SAFETY: the interface and the pointer are valid.
    let mut get =
        |len| unsafe { ((*protection).get_memory_attributes)(protection, start, len, &raw mut found) };
    assert_eq!(get(0x2000), Status::NO_MAPPING);
    assert_eq!(get(0x1000), Status::SUCCESS);
    assert_eq!(found, read_only | no_execute);
    machine.log().protections.clear();
    // SAFETY: the pages were allocated.
    assert_eq!(unsafe { (machine.boot().free_pages)(start, 2) }, Status::SUCCESS);
    assert_eq!(machine.log().protections, [(start, 0x2000, Attributes::empty())]);
}
