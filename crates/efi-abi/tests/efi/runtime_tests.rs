//! Runtime services, before and after `ExitBootServices` and `SetVirtualAddressMap`.
#![expect(unsafe_code, reason = "services are called by their pointers")]

use std::ffi::c_void;
use std::ptr::{null, null_mut};
use std::sync::atomic::{AtomicU64, Ordering};

use efi_abi::raw::table::boot::{EventType, MemoryAttribute, MemoryDescriptor, Tpl};
use efi_abi::raw::table::runtime::{RuntimeServices, VariableAttributes};
use efi_abi::raw::table::system::SystemTable;
use efi_abi::raw::time::Time;
use efi_abi::raw::{Event, Handle, Status};
use efi_abi::{Guid, ImageSource, guids};
use efi_core::guid;

use crate::images::application;
use crate::machine::{Machine, NOW, text};

const VENDOR: Guid = guid!("605dab50-e046-4300-abb6-3dd810dd8b23");
const NV: VariableAttributes = VariableAttributes::from_bits_retain(7);

fn get(runtime: &RuntimeServices, name: &str) -> (Status, Vec<u8>) {
    let (mut size, name) = (0, text(name));
    let mut attributes = VariableAttributes::empty();
    // SAFETY: the pointers are valid, and the buffer has the size.
    let mut call = |size: &mut usize, target| unsafe {
        (runtime.get_variable)(name.as_ptr(), &VENDOR, &raw mut attributes, size, target)
    };
    let status = call(&mut size, null_mut());
    if status != Status::BUFFER_TOO_SMALL {
        return (status, Vec::new());
    }
    let mut data = vec![0; size];
    (call(&mut size, data.as_mut_ptr()), data)
}

fn set(runtime: &RuntimeServices, name: &str, attributes: VariableAttributes, data: &[u8]) -> Status {
    let name = text(name);
    // SAFETY: the pointers are valid.
    unsafe { (runtime.set_variable)(name.as_ptr(), &VENDOR, attributes, data.len(), data.as_ptr()) }
}

fn names(runtime: &RuntimeServices) -> Vec<String> {
    let (mut name, mut vendor) = ([0_u16; 64], Guid::ZERO);
    let mut found = Vec::new();
    loop {
        let mut size = 128;
        // SAFETY: the pointers are valid, and the buffer has the size.
        let status =
            unsafe { (runtime.get_next_variable_name)(&raw mut size, name.as_mut_ptr(), &raw mut vendor) };
        if status != Status::SUCCESS {
            assert_eq!(status, Status::NOT_FOUND);
            return found;
        }
        found.push(String::from_utf16(&name[..size / 2 - 1]).unwrap());
    }
}

#[test]
fn variables_time_and_information() {
    let machine = Machine::new();
    let runtime = machine.runtime();
    assert_eq!(get(runtime, "A"), (Status::NOT_FOUND, vec![]));
    assert_eq!(set(runtime, "A", NV, &[1, 2, 3]), Status::SUCCESS);
    assert_eq!(get(runtime, "A"), (Status::SUCCESS, vec![1, 2, 3]));
    let expected = [
        "SecureBoot",
        "SetupMode",
        "OsIndicationsSupported",
        "PlatformLangCodes",
        "PlatformLang",
        "A",
    ];
    assert_eq!(names(runtime), expected);
    assert_eq!(set(runtime, "MokListXRT", NV, &[7; 5500]), Status::SUCCESS);
    assert_eq!(
        set(runtime, &"x".repeat(600), NV, &[7]),
        Status::INVALID_PARAMETER
    );
    let authenticated = NV | VariableAttributes::TIME_BASED_AUTHENTICATED_WRITE_ACCESS;
    assert_eq!(set(runtime, "A", authenticated, &[7]), Status::UNSUPPORTED);
    let mut info = [0; 3];
    let [total, free, largest] = &mut info;
    // SAFETY: the pointers are valid.
    assert_eq!(
        unsafe { (runtime.query_variable_info)(NV, total, free, largest) },
        Status::SUCCESS
    );
    assert!(
        info[0] == 256 * 1024 && info[1] < info[0] - 5500 && info[2] > 60_000,
        "{info:?}"
    );

    let mut time = Time::default();
    // SAFETY: the pointers are valid.
    assert_eq!(
        unsafe { (runtime.get_time)(&raw mut time, null_mut()) },
        Status::SUCCESS
    );
    assert_eq!((time.year, time.month, time.day, time.hour), (2026, 11, 27, 20));
    time.hour = 21;
    // SAFETY: the pointer is valid.
    assert_eq!(unsafe { (runtime.set_time)(&raw const time) }, Status::SUCCESS);
    assert_eq!(machine.log().set_time, NOW + 3600);
    time.month = 13;
    // SAFETY: the pointer is valid.
    assert_eq!(
        unsafe { (runtime.set_time)(&raw const time) },
        Status::INVALID_PARAMETER
    );
    // SAFETY: a null pointer is refused.
    assert_eq!(
        unsafe { (runtime.get_time)(null_mut(), null_mut()) },
        Status::INVALID_PARAMETER
    );
    // SAFETY: no map is set.
    let mut pointer = null_mut();
    // SAFETY: the pointer is valid.
    assert_eq!(
        unsafe { (runtime.convert_pointer)(0, &raw mut pointer) },
        Status::UNSUPPORTED
    );
}

#[test]
fn configuration_tables_are_listed() {
    let machine = Machine::new();
    let list = || {
        let system = machine.system();
        let tables = system.configuration_table;
        // SAFETY: the system table has this many tables.
        (0..system.number_of_configuration_table_entries)
            .map(|index| unsafe {
                (
                    (*tables.add(index)).vendor_guid,
                    (*tables.add(index)).vendor_table.addr(),
                )
            })
            .collect::<Vec<_>>()
    };
    let properties = list();
    assert_eq!(
        (properties.len(), properties[0].0),
        (1, guids::RT_PROPERTIES_TABLE)
    );
    machine
        .firmware
        .add_configuration_table(guids::ACPI_20_TABLE, 0x1000)
        .unwrap();
    let install = |guid: &Guid, table: usize| {
        // SAFETY: the pointer is valid; nobody reads the table.
        unsafe { (machine.boot().install_configuration_table)(guid, std::ptr::without_provenance(table)) }
    };
    assert_eq!(install(&guids::DEVICE_TREE, 0x2000), Status::SUCCESS);
    assert_eq!(install(&guids::ACPI_20_TABLE, 0x3000), Status::SUCCESS);
    assert_eq!(
        list()[1..],
        [(guids::ACPI_20_TABLE, 0x3000), (guids::DEVICE_TREE, 0x2000)]
    );
    assert_eq!(install(&guids::ACPI_20_TABLE, 0), Status::SUCCESS);
    assert_eq!(install(&guids::ACPI_20_TABLE, 0), Status::NOT_FOUND);
    assert_eq!(list()[1..], [(guids::DEVICE_TREE, 0x2000)]);
    let full = (0..64_u8).find_map(|number| {
        let status = install(&Guid::from_bytes([number; 16]), 1);
        (status != Status::SUCCESS).then_some((number, status))
    });
    assert_eq!(full, Some((62, Status::OUT_OF_RESOURCES)));
}

static CONVERTED: AtomicU64 = AtomicU64::new(0);
static BEFORE: AtomicU64 = AtomicU64::new(0);

/// Converts a pointer during `SetVirtualAddressMap`; the context is the runtime services table.
unsafe extern "efiapi" fn on_address_change(_: Event, context: *mut c_void) {
    // SAFETY: the context is the table.
    let runtime = unsafe { &*context.cast::<RuntimeServices>() };
    let mut pointer = context;
    // SAFETY: the pointer is valid.
    if unsafe { (runtime.convert_pointer)(0, &raw mut pointer) } == Status::SUCCESS {
        CONVERTED.store(pointer.addr() as u64, Ordering::Relaxed);
    }
    let mut missing = std::ptr::without_provenance_mut(0x1000);
    // SAFETY: the pointer is valid.
    let status = unsafe { (runtime.convert_pointer)(0, &raw mut missing) };
    if status != Status::NOT_FOUND {
        CONVERTED.store(1, Ordering::Relaxed);
    }
}

unsafe extern "efiapi" fn on_exit(_: Event, _: *mut c_void) {
    BEFORE.fetch_add(1, Ordering::Relaxed);
}

/// The runtime regions that the operating system found.
static REGION: [AtomicU64; 2] = [AtomicU64::new(0), AtomicU64::new(0)];

/// An operating system: it exits boot services, and does not return to the firmware but for the test.
unsafe extern "efiapi" fn operating_system(image: Handle, system: *mut SystemTable) -> Status {
    // SAFETY: the firmware passes its system table.
    let (boot, runtime) = unsafe { (&*(*system).boot_services, (*system).runtime_services) };
    let exit = EventType::SIGNAL_EXIT_BOOT_SERVICES;
    let change = EventType::SIGNAL_VIRTUAL_ADDRESS_CHANGE;
    let mut event = null_mut();
    let before: *const Guid = &guids::EVENT_BEFORE_EXIT_BOOT_SERVICES;
    let (level, signal) = (Tpl::CALLBACK, EventType::NOTIFY_SIGNAL);
    let all = [
        // SAFETY: the functions live as long as the program.
        unsafe { (boot.create_event)(exit, level, Some(on_exit), null_mut(), &raw mut event) },
        // SAFETY: as above; the table is in runtime memory.
        unsafe {
            (boot.create_event)(
                change,
                level,
                Some(on_address_change),
                runtime.cast(),
                &raw mut event,
            )
        },
        // SAFETY: as above.
        unsafe { (boot.create_event_ex)(signal, level, Some(on_exit), null(), before, &raw mut event) },
    ];
    if all != [Status::SUCCESS; 3] {
        return Status::NOT_STARTED;
    }
    let mut buffer = [0_u64; 6 * 64];
    let (mut size, mut key) = (size_of_val(&buffer), 0);
    let (mut distance, mut version) = (0, 0);
    // SAFETY: the pointers are valid, and the buffer has the size.
    let status = unsafe {
        (boot.get_memory_map)(
            &raw mut size,
            buffer.as_mut_ptr().cast(),
            &raw mut key,
            &raw mut distance,
            &raw mut version,
        )
    };
    if status != Status::SUCCESS {
        return status;
    }
    for words in buffer[..size / 8]
        .chunks_exact(6)
        .filter(|words| words[4] >> 63 == 1)
    {
        REGION[0].store(words[1], Ordering::Relaxed);
        REGION[1].store(words[3], Ordering::Relaxed);
    }
    // SAFETY: no pointers.
    if unsafe { (boot.exit_boot_services)(image, key.wrapping_add(1)) } != Status::INVALID_PARAMETER {
        return Status::DEVICE_ERROR;
    }
    if BEFORE.load(Ordering::Relaxed) != 1 {
        return Status::PROTOCOL_ERROR;
    }
    // The handle may be one that the firmware does not know as an image.
    // SAFETY: no pointers.
    let status = unsafe { (boot.exit_boot_services)(null_mut(), key) };
    if status != Status::SUCCESS || BEFORE.load(Ordering::Relaxed) != 2 {
        return Status::CRC_ERROR;
    }
    Status::SUCCESS
}

#[test]
fn runtime_services_survive_the_end_of_boot_services_and_new_addresses() {
    let machine = Machine::new();
    let runtime = machine.runtime();
    let volatile = VariableAttributes::from_bits_retain(6);
    assert_eq!(set(runtime, "stored", NV, b"old"), Status::SUCCESS);
    assert_eq!(set(runtime, "volatile", volatile, b"x"), Status::SUCCESS);
    assert_eq!(
        set(runtime, "boot", VariableAttributes::BOOTSERVICE_ACCESS, b"x"),
        Status::SUCCESS
    );
    let file = application(operating_system);
    let handle = machine
        .firmware
        .load_image(ImageSource::Bytes(&file, None))
        .unwrap();
    // The image returns, which no operating system does: the firmware has no state any more.
    let exited = machine.firmware.start_image(handle);
    assert_eq!(exited, Err(efi_abi::Status::UNSUPPORTED));
    assert_eq!(BEFORE.load(Ordering::Relaxed), 2);
    assert!(machine.log().has_exited);
    let system = machine.system();
    assert!(system.boot_services.is_null() && system.stdout.is_null() && system.stdin_handle.is_null());

    let check = |runtime: &RuntimeServices, value: &[u8]| {
        assert_eq!(get(runtime, "boot").0, Status::NOT_FOUND);
        assert_eq!(get(runtime, "stored"), (Status::SUCCESS, value.to_vec()));
        assert_eq!(set(runtime, "volatile", volatile, b"y"), Status::WRITE_PROTECTED);
        let mut time = Time::default();
        // SAFETY: the pointer is valid.
        assert_eq!(
            unsafe { (runtime.get_time)(&raw mut time, null_mut()) },
            Status::SUCCESS
        );
    };
    check(runtime, b"old");

    let [start, pages] = [0, 1].map(|index: usize| REGION[index].load(Ordering::Relaxed));
    let map = [MemoryDescriptor {
        phys_start: start,
        virt_start: machine.alias(start),
        page_count: pages,
        att: MemoryAttribute::RUNTIME,
        ..MemoryDescriptor::default()
    }];
    let set_map = |version| {
        // SAFETY: the map has one descriptor, and both addresses are mapped.
        unsafe { (runtime.set_virtual_address_map)(size_of_val(&map), 40, version, map.as_ptr()) }
    };
    assert_eq!(set_map(2), Status::INVALID_PARAMETER);
    let old = std::ptr::from_ref(runtime).addr() as u64;
    assert_eq!(set_map(1), Status::SUCCESS);
    assert_eq!(CONVERTED.load(Ordering::Relaxed), machine.alias(old));
    assert_eq!(
        machine.system().runtime_services.addr() as u64,
        machine.alias(old)
    );
    // From here on the first mapping of the runtime memory is not used: without access, a use would be a fault.
    let first = std::ptr::with_exposed_provenance_mut::<c_void>(start.try_into().unwrap());
    let len = usize::try_from(pages).unwrap() * 4096;
    // SAFETY: the memory is mapped; it gets its access back before the machine is dropped.
    assert_eq!(unsafe { libc::mprotect(first, len, libc::PROT_NONE) }, 0);
    let new = std::ptr::with_exposed_provenance::<RuntimeServices>(machine.alias(old).try_into().unwrap());
    // SAFETY: the second mapping of the table.
    let runtime = unsafe { &*new };
    check(runtime, b"old");
    assert_eq!(set(runtime, "stored", NV, b"new"), Status::SUCCESS);
    check(runtime, b"new");
    // SAFETY: a second map is refused.
    let status = unsafe { (runtime.set_virtual_address_map)(size_of_val(&map), 40, 1, map.as_ptr()) };
    assert_eq!(status, Status::UNSUPPORTED);
    let access = libc::PROT_READ | libc::PROT_WRITE;
    // SAFETY: the memory is mapped.
    assert_eq!(unsafe { libc::mprotect(first, len, access) }, 0);
}

/// Calls a service without arguments while `x18` has a value, and returns what is in `x18` afterwards.
#[cfg(target_arch = "aarch64")]
fn x18_after(service: usize) -> u64 {
    let value: u64;
    // SAFETY: the service refuses null pointers, and changes the registers that a function may change, and memory of its own.
    unsafe {
        std::arch::asm!(
            "mov x18, #0x1234",
            "blr {service}",
            "mov x9, x18",
            service = in(reg) service,
            lateout("x9") value,
            inout("x0") 0_u64 => _,
            inout("x1") 0_u64 => _,
            inout("x2") 0_u64 => _,
            inout("x3") 0_u64 => _,
            inout("x4") 0_u64 => _,
            out("x18") _,
            clobber_abi("C"),
        );
    }
    value
}

/// Linux reports a bug of the firmware if a runtime service changes it.
#[cfg(target_arch = "aarch64")]
#[test]
fn the_platform_register_of_arm64_stays() {
    let machine = Machine::new();
    let table = std::ptr::from_ref(machine.runtime()).cast::<usize>();
    // All functions behind the header of 24 bytes but ResetSystem, which is the eleventh.
    for index in (0..14).filter(|index| *index != 10) {
        // SAFETY: the table has 14 functions.
        let service = unsafe { table.add(3 + index).read() };
        assert_eq!(x18_after(service), 0x1234, "{index}");
    }
}
