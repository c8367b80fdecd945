//! Status codes of each boot service, as UEFI 2.10 lists them in the tables "Status Codes Returned" of chapter 7. Statuses that need
//! drivers, images that run, or the end of boot services are in the tests of those.
#![expect(unsafe_code, reason = "services are called by their pointers")]
#![expect(
    clippy::too_many_lines,
    reason = "a test is a table of the codes of several services"
)]

use std::ffi::c_void;
use std::ptr::{from_ref, null, null_mut};

use efi_abi::Guid;
use efi_abi::raw::table::boot::{AllocateType, EventType, InterfaceType, MemoryType, TimerDelay, Tpl};
use efi_abi::raw::table::system::SystemTable;
use efi_abi::raw::{Boolean, Event, Handle, Status};
use efi_core::guid;

use crate::images::application;
use crate::machine::Machine;

const A: Guid = guid!("00000000-0000-0000-0000-0000000000a1");
const B: Guid = guid!("00000000-0000-0000-0000-0000000000b1");
const ABSENT: Guid = guid!("00000000-0000-0000-0000-0000000000ff");

const OK: Status = Status::SUCCESS;
const INVALID: Status = Status::INVALID_PARAMETER;
const NOT_FOUND: Status = Status::NOT_FOUND;
const TOO_SMALL: Status = Status::BUFFER_TOO_SMALL;

/// Cases of a service in the order of their calls: what is passed, the status that came, the status of the specification.
fn check(service: &str, cases: &[(&str, Status, Status)]) {
    for (case, found, expected) in cases {
        assert_eq!(found, expected, "{service} with {case}");
    }
}

/// Calls a service. Pointers of the calls here are null or valid.
macro_rules! call {
    ($machine:expr, $service:ident($($argument:expr),* $(,)?)) => {
        // SAFETY: the pointers are null or valid for the service, and live longer than the call.
        unsafe { ($machine.boot().$service)($($argument),*) }
    };
}

mod protocols;
mod searches;

/// A new handle with a protocol, whose interface is the number.
fn install(machine: &Machine, protocol: &Guid, interface: usize) -> Handle {
    let mut handle = null_mut();
    let interface = std::ptr::without_provenance(interface);
    let kind = InterfaceType::NATIVE_INTERFACE;
    let status = call!(
        machine,
        install_protocol_interface(&raw mut handle, protocol, kind, interface)
    );
    assert_eq!(status, OK);
    handle
}

/// A handle that never was.
fn wrong() -> Handle {
    std::ptr::without_provenance_mut(0x1234)
}

unsafe extern "efiapi" fn ignore(_: Event, _: *mut c_void) {}

unsafe extern "efiapi" fn returns(_: Handle, _: *mut SystemTable) -> Status {
    OK
}

#[test]
fn events() {
    let machine = Machine::new();
    let mut event = null_mut();
    let mut create = |kind: u32, tpl, notify, target: bool| {
        let target = if target { &raw mut event } else { null_mut() };
        let kind = EventType::from_bits_retain(kind);
        call!(machine, create_event(kind, tpl, notify, null_mut(), target))
    };
    check(
        "CreateEvent",
        &[
            ("no event", create(0, Tpl(0), None, false), INVALID),
            (
                "an unknown type",
                create(1, Tpl::CALLBACK, Some(ignore), true),
                INVALID,
            ),
            (
                "both notifications",
                create(0x300, Tpl::CALLBACK, Some(ignore), true),
                INVALID,
            ),
            ("no function", create(0x200, Tpl::CALLBACK, None, true), INVALID),
            (
                "a level of applications",
                create(0x200, Tpl::APPLICATION, Some(ignore), true),
                INVALID,
            ),
            (
                "the highest level",
                create(0x100, Tpl::HIGH_LEVEL, Some(ignore), true),
                INVALID,
            ),
            (
                "a notification",
                create(0x200, Tpl::CALLBACK, Some(ignore), true),
                OK,
            ),
        ],
    );
    let notified = event;
    let mut create_ex = |kind: u32| {
        let kind = EventType::from_bits_retain(kind);
        let (notify, target) = (Some(ignore as _), &raw mut event);
        call!(
            machine,
            create_event_ex(kind, Tpl::CALLBACK, notify, null(), &A, target)
        )
    };
    check(
        "CreateEventEx",
        &[
            ("a group and the type of another", create_ex(0x201), INVALID),
            ("a group", create_ex(0x200), OK),
        ],
    );
    let timer_type = EventType::TIMER;
    let mut timer = null_mut();
    let created = call!(
        machine,
        create_event(timer_type, Tpl(0), None, null_mut(), &raw mut timer)
    );
    assert_eq!(created, OK);
    let set = |event, delay| call!(machine, set_timer(event, TimerDelay(delay), 1 << 40));
    check(
        "SetTimer",
        &[
            ("no event", set(null_mut(), 1), INVALID),
            ("an event without a timer", set(notified, 1), INVALID),
            ("an unknown type", set(timer, 3), INVALID),
            ("a timer", set(timer, 2), OK),
        ],
    );
    check(
        "CheckEvent",
        &[
            (
                "a notification on signals",
                call!(machine, check_event(notified)),
                INVALID,
            ),
            (
                "a timer that has not expired",
                call!(machine, check_event(timer)),
                Status::NOT_READY,
            ),
            ("a signal", call!(machine, signal_event(timer)), OK),
            ("a signalled event", call!(machine, check_event(timer)), OK),
        ],
    );
    let mut index = 0;
    let mut wait = |count, event: Event| {
        let events = [timer, event];
        call!(
            machine,
            wait_for_event(count, events.as_ptr().cast_mut().cast(), &raw mut index)
        )
    };
    check(
        "WaitForEvent",
        &[
            ("no events", wait(0, timer), INVALID),
            ("a notification on signals", wait(2, notified), INVALID),
        ],
    );
    assert_eq!(index, 1, "the index is that of the wrong event");
    check(
        "CloseEvent",
        &[
            ("an event", call!(machine, close_event(timer)), OK),
            ("a closed event", call!(machine, close_event(timer)), INVALID),
        ],
    );
}

#[test]
fn memory() {
    let machine = Machine::new();
    let mut address = 1;
    let mut allocate = |how, kind, pages, target: bool| {
        let target = if target { &raw mut address } else { null_mut() };
        call!(
            machine,
            allocate_pages(AllocateType(how), MemoryType(kind), pages, target)
        )
    };
    check(
        "AllocatePages",
        &[
            ("no address", allocate(0, 2, 1, false), INVALID),
            ("an unknown way", allocate(3, 2, 1, true), INVALID),
            ("a reserved type", allocate(0, 16, 1, true), INVALID),
            (
                "the last reserved type",
                allocate(0, 0x6fff_ffff, 1, true),
                INVALID,
            ),
            ("persistent memory", allocate(0, 14, 1, true), INVALID),
            ("unaccepted memory", allocate(0, 15, 1, true), INVALID),
            (
                "too many pages",
                allocate(0, 2, 1 << 40, true),
                Status::OUT_OF_RESOURCES,
            ),
            ("a page", allocate(0, 2, 1, true), OK),
            ("its address again", allocate(2, 2, 1, true), NOT_FOUND),
        ],
    );
    let free = |start, pages| call!(machine, free_pages(start, pages));
    check(
        "FreePages",
        &[
            ("an address in a page", free(address + 1, 1), INVALID),
            ("no pages", free(address, 0), INVALID),
            ("a page that is not allocated", free(0x1000, 1), NOT_FOUND),
            ("a page", free(address, 1), OK),
        ],
    );
    let mut size = 0;
    let map = |size: *mut usize| {
        call!(
            machine,
            get_memory_map(size, null_mut(), null_mut(), null_mut(), null_mut())
        )
    };
    check(
        "GetMemoryMap",
        &[
            ("no size", map(null_mut()), INVALID),
            ("no room and no buffer", map(&raw mut size), TOO_SMALL),
            ("room and no buffer", map(&raw mut size), INVALID),
        ],
    );
    let mut buffer = null_mut();
    let mut pool = |kind, size, target: bool| {
        let target = if target { &raw mut buffer } else { null_mut() };
        call!(machine, allocate_pool(MemoryType(kind), size, target))
    };
    check(
        "AllocatePool",
        &[
            ("no buffer", pool(2, 1, false), INVALID),
            ("a reserved type", pool(16, 1, true), INVALID),
            ("persistent memory", pool(14, 1, true), INVALID),
            (
                "too large a size",
                pool(2, 1 << 50, true),
                Status::OUT_OF_RESOURCES,
            ),
            ("a byte", pool(2, 1, true), OK),
        ],
    );
    check(
        "FreePool",
        &[
            ("no buffer", call!(machine, free_pool(null_mut())), INVALID),
            ("a buffer", call!(machine, free_pool(buffer)), OK),
            ("a free buffer", call!(machine, free_pool(buffer)), INVALID),
        ],
    );
}

#[test]
fn images() {
    let machine = Machine::new();
    let file = application(returns);
    let mut broken = file.clone();
    broken.truncate(0x190);
    let mut foreign = file.clone();
    foreign[0x84] ^= 1;
    let parent = machine
        .firmware
        .load_image(efi_abi::ImageSource::Bytes(&file, None))
        .unwrap();
    let parent: Handle = std::ptr::without_provenance_mut(parent.0.try_into().unwrap());
    let mut loaded = null_mut();
    let mut load = |parent, source: &[u8], target: bool| {
        let target = if target { &raw mut loaded } else { null_mut() };
        let start = if source.is_empty() {
            null()
        } else {
            source.as_ptr()
        };
        call!(
            machine,
            load_image(Boolean::FALSE, parent, null(), start, source.len(), target)
        )
    };
    check(
        "LoadImage",
        &[
            ("no target", load(parent, &file, false), INVALID),
            ("no parent", load(null_mut(), &file, true), INVALID),
            ("a wrong parent", load(wrong(), &file, true), INVALID),
            ("neither a buffer nor a path", load(parent, &[], true), NOT_FOUND),
            (
                "an image of another machine",
                load(parent, &foreign, true),
                Status::UNSUPPORTED,
            ),
            (
                "an image without its end",
                load(parent, &broken, true),
                Status::LOAD_ERROR,
            ),
            ("an image", load(parent, &file, true), OK),
        ],
    );
    let start = |image| call!(machine, start_image(image, null_mut(), null_mut()));
    let unload = |image| call!(machine, unload_image(image));
    check(
        "StartImage",
        &[
            ("no image", start(null_mut()), INVALID),
            ("a wrong image", start(wrong()), INVALID),
            ("an image", start(loaded), OK),
            ("an image that has ended", start(loaded), INVALID),
        ],
    );
    check(
        "UnloadImage",
        &[
            ("no image", unload(null_mut()), INVALID),
            ("an image that has ended", unload(loaded), INVALID),
            ("an image that was not started", unload(parent), OK),
        ],
    );
    check(
        "ExitBootServices",
        &[(
            "an old key",
            call!(machine, exit_boot_services(null_mut(), 0)),
            INVALID,
        )],
    );
}

#[test]
fn others() {
    let machine = Machine::new();
    let mut count = 0;
    check(
        "GetNextMonotonicCount",
        &[
            (
                "no count",
                call!(machine, get_next_monotonic_count(null_mut())),
                INVALID,
            ),
            (
                "a count",
                call!(machine, get_next_monotonic_count(&raw mut count)),
                OK,
            ),
        ],
    );
    let table = from_ref(&machine).cast();
    let add = |name: *const Guid, table| call!(machine, install_configuration_table(name, table));
    check(
        "InstallConfigurationTable",
        &[
            ("no name", add(null(), table), INVALID),
            ("no such table to remove", add(&A, null()), NOT_FOUND),
            ("a table", add(&A, table), OK),
            ("a table to remove", add(&A, null()), OK),
        ],
    );
    let data = [1_u8; 4];
    let mut crc = 0;
    let mut sum = |data: *const u8, size, target: bool| {
        let target = if target { &raw mut crc } else { null_mut() };
        call!(machine, calculate_crc32(data.cast(), size, target))
    };
    check(
        "CalculateCrc32",
        &[
            ("no data", sum(null(), 4, true), INVALID),
            ("no length", sum(data.as_ptr(), 0, true), INVALID),
            ("no sum", sum(data.as_ptr(), 4, false), INVALID),
            ("data", sum(data.as_ptr(), 4, true), OK),
        ],
    );
    let watch = call!(machine, set_watchdog_timer(5, 0, 0, null()));
    check("SetWatchdogTimer", &[("no watchdog", watch, Status::UNSUPPORTED)]);
    check("Stall", &[("a microsecond", call!(machine, stall(1)), OK)]);
}
