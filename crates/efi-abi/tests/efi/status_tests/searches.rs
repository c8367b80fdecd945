//! Searches for handles, and the drivers of handles.
#![expect(unsafe_code, reason = "services are called by their pointers")]

use std::ptr::{null, null_mut};

use efi_abi::raw::protocol::device_path::DevicePathProtocol;
use efi_abi::raw::table::boot::{EventType, Tpl};
use efi_abi::raw::{Boolean, Handle};
use efi_abi::{Guid, guids};
use efi_core::device_path::DevicePathBuf;

use super::{A, ABSENT, INVALID, NOT_FOUND, OK, TOO_SMALL, check, install, wrong};
use crate::machine::Machine;

#[test]
fn searches() {
    let machine = Machine::new();
    let handle = install(&machine, &A, 1);
    let mut size = 0;
    let mut handles = [null_mut(); 2];
    let locate = |kind, protocol: *const Guid, size: *mut usize, target: *mut Handle| {
        call!(machine, locate_handle(kind, protocol, null(), size, target))
    };
    check(
        "LocateHandle",
        &[
            (
                "an unknown search",
                locate(3, &A, &raw mut size, null_mut()),
                INVALID,
            ),
            (
                "no registration",
                locate(1, &A, &raw mut size, null_mut()),
                INVALID,
            ),
            (
                "no protocol",
                locate(2, null(), &raw mut size, null_mut()),
                INVALID,
            ),
            (
                "no match",
                locate(2, &ABSENT, &raw mut size, null_mut()),
                NOT_FOUND,
            ),
            (
                "no match and no size",
                locate(2, &ABSENT, null_mut(), null_mut()),
                NOT_FOUND,
            ),
            (
                "a match and no size",
                locate(2, &A, null_mut(), null_mut()),
                INVALID,
            ),
            (
                "no room and no buffer",
                locate(2, &A, &raw mut size, null_mut()),
                TOO_SMALL,
            ),
            (
                "room and no buffer",
                locate(2, &A, &raw mut size, null_mut()),
                INVALID,
            ),
            ("room", locate(2, &A, &raw mut size, handles.as_mut_ptr()), OK),
        ],
    );
    assert_eq!((size, handles), (8, [handle, null_mut()]));
    let (mut count, mut buffer) = (7, null_mut());
    let mut locate = |protocol: *const Guid, has_count: bool, has_target: bool| {
        let count = if has_count { &raw mut count } else { null_mut() };
        let target = if has_target { &raw mut buffer } else { null_mut() };
        call!(machine, locate_handle_buffer(2, protocol, null(), count, target))
    };
    check(
        "LocateHandleBuffer",
        &[
            ("no count", locate(&A, false, true), INVALID),
            ("no buffer", locate(&A, true, false), INVALID),
            ("no match", locate(&ABSENT, true, true), NOT_FOUND),
            ("a match", locate(&A, true, true), OK),
        ],
    );
    assert_eq!(count, 1);
    let mut interface = null_mut();
    let mut locate = |protocol: *const Guid, target: bool| {
        let target = if target { &raw mut interface } else { null_mut() };
        call!(machine, locate_protocol(protocol, null(), target))
    };
    check(
        "LocateProtocol",
        &[
            ("no interface", locate(&A, false), INVALID),
            ("no protocol", locate(null(), true), INVALID),
            ("no match", locate(&ABSENT, true), NOT_FOUND),
            ("a match", locate(&A, true), OK),
        ],
    );
    let (mut event, mut key) = (null_mut(), null_mut());
    let kind = EventType::empty();
    assert_eq!(
        call!(
            machine,
            create_event(kind, Tpl(0), None, null_mut(), &raw mut event)
        ),
        OK
    );
    let mut register = |protocol: *const Guid, event, target: bool| {
        let target = if target { &raw mut key } else { null_mut() };
        call!(machine, register_protocol_notify(protocol, event, target))
    };
    check(
        "RegisterProtocolNotify",
        &[
            ("no protocol", register(null(), event, true), INVALID),
            ("no event", register(&A, null_mut(), true), INVALID),
            ("no registration", register(&A, event, false), INVALID),
            ("an event", register(&A, event, true), OK),
        ],
    );
    let mut next = || {
        call!(
            machine,
            locate_handle(1, null(), key, &raw mut size, handles.as_mut_ptr())
        )
    };
    assert_eq!(next(), NOT_FOUND, "nothing was installed since the registration");
}

#[test]
fn device_paths() {
    let machine = Machine::new();
    let mut path = DevicePathBuf::new();
    path.push_vendor_media(A, &[]).unwrap();
    let path = path.into_bytes();
    let address = path.as_ptr().expose_provenance();
    let handle = install(&machine, &guids::DEVICE_PATH, address);
    let mut found = null_mut();
    let mut locate = |protocol: *const Guid, start: *const u8, has_path: bool, target: bool| {
        let mut start = start.cast::<DevicePathProtocol>();
        let path = if has_path { &raw mut start } else { null_mut() };
        let target = if target { &raw mut found } else { null_mut() };
        call!(machine, locate_device_path(protocol, path, target))
    };
    let (start, protocol) = (path.as_ptr(), &guids::DEVICE_PATH);
    check(
        "LocateDevicePath",
        &[
            ("no protocol", locate(null(), start, true, true), INVALID),
            ("no path", locate(protocol, start, false, true), INVALID),
            ("a null path", locate(protocol, null(), true, true), INVALID),
            (
                "no match and no handle",
                locate(&ABSENT, start, true, false),
                NOT_FOUND,
            ),
            (
                "a match and no handle",
                locate(protocol, start, true, false),
                INVALID,
            ),
            ("a match", locate(protocol, start, true, true), OK),
        ],
    );
    assert_eq!(found, handle);
    let connect = |handle| {
        call!(
            machine,
            connect_controller(handle, null_mut(), null(), Boolean::FALSE)
        )
    };
    check(
        "ConnectController",
        &[
            ("no controller", connect(null_mut()), INVALID),
            ("no driver", connect(handle), NOT_FOUND),
        ],
    );
    let disconnect =
        |controller, driver, child| call!(machine, disconnect_controller(controller, driver, child));
    check(
        "DisconnectController",
        &[
            (
                "no controller",
                disconnect(null_mut(), null_mut(), null_mut()),
                INVALID,
            ),
            ("a wrong driver", disconnect(handle, wrong(), null_mut()), INVALID),
            (
                "a driver without a binding",
                disconnect(handle, handle, null_mut()),
                INVALID,
            ),
            ("a wrong child", disconnect(handle, null_mut(), wrong()), INVALID),
            ("no drivers", disconnect(handle, null_mut(), null_mut()), OK),
        ],
    );
}
