//! Protocols that are installed, opened and removed.
#![expect(unsafe_code, reason = "services are called by their pointers")]

use std::ffi::c_void;
use std::mem::transmute;
use std::ptr::{null, null_mut};

use efi_abi::Guid;
use efi_abi::raw::table::boot::InterfaceType;
use efi_abi::raw::{Handle, Status};

use super::{A, ABSENT, B, INVALID, NOT_FOUND, OK, check, install, wrong};
use crate::machine::Machine;

const BY_CHILD: u32 = 0x8;
const BY_DRIVER: u32 = 0x10;
const EXCLUSIVE: u32 = 0x20;

/// `UninstallMultipleProtocolInterfaces` with one pair: the convention is the same as with variable arguments.
type UninstallOne = unsafe extern "efiapi" fn(Handle, *const Guid, usize, *const Guid) -> Status;

#[test]
fn installed_protocols() {
    let machine = Machine::new();
    let handle = install(&machine, &A, 1);
    let interface = |number| std::ptr::without_provenance::<c_void>(number);
    let add = |mut handle: Handle, protocol: *const Guid, kind| {
        call!(
            machine,
            install_protocol_interface(&raw mut handle, protocol, InterfaceType(kind), interface(2))
        )
    };
    let no_handle = call!(
        machine,
        install_protocol_interface(null_mut(), &A, InterfaceType::NATIVE_INTERFACE, null())
    );
    check(
        "InstallProtocolInterface",
        &[
            ("no handle", no_handle, INVALID),
            ("no protocol", add(handle, null(), 0), INVALID),
            ("an unknown type", add(handle, &B, 1), INVALID),
            ("a wrong handle", add(wrong(), &B, 0), INVALID),
            ("a protocol that the handle has", add(handle, &A, 0), INVALID),
            ("a protocol", add(handle, &B, 0), OK),
        ],
    );
    let replace = |handle, protocol: *const Guid, old| {
        call!(
            machine,
            reinstall_protocol_interface(handle, protocol, interface(old), interface(5))
        )
    };
    check(
        "ReinstallProtocolInterface",
        &[
            ("no handle", replace(null_mut(), &B, 2), INVALID),
            ("no protocol", replace(handle, null(), 2), INVALID),
            (
                "a protocol that the handle lacks",
                replace(handle, &ABSENT, 2),
                NOT_FOUND,
            ),
            ("another interface", replace(handle, &B, 3), NOT_FOUND),
            ("an interface", replace(handle, &B, 2), OK),
        ],
    );
    let remove = |handle, protocol: *const Guid, old| {
        call!(
            machine,
            uninstall_protocol_interface(handle, protocol, interface(old))
        )
    };
    check(
        "UninstallProtocolInterface",
        &[
            ("no handle", remove(null_mut(), &B, 5), INVALID),
            ("no protocol", remove(handle, null(), 5), INVALID),
            (
                "a protocol that the handle lacks",
                remove(handle, &ABSENT, 5),
                NOT_FOUND,
            ),
            ("another interface", remove(handle, &B, 2), NOT_FOUND),
            ("an interface", remove(handle, &B, 5), OK),
        ],
    );
    // SAFETY: the function takes variable arguments by the convention of UEFI.
    let uninstall: UninstallOne =
        unsafe { transmute(machine.boot().uninstall_multiple_protocol_interfaces as *const ()) };
    // SAFETY: null ends the list.
    let remove = |handle, protocol: &Guid, old| unsafe { uninstall(handle, protocol, old, null()) };
    check(
        "UninstallMultipleProtocolInterfaces",
        &[
            ("a wrong handle", remove(wrong(), &A, 1), INVALID),
            (
                "one protocol that the handle lacks",
                remove(handle, &ABSENT, 1),
                INVALID,
            ),
            ("another interface", remove(handle, &A, 9), INVALID),
            ("an interface", remove(handle, &A, 1), OK),
        ],
    );
}

#[test]
fn opened_protocols() {
    let machine = Machine::new();
    let [handle, agent, other] = [1, 2, 3].map(|number| install(&machine, &A, number));
    let mut found = null_mut();
    let mut get = |handle, protocol: *const Guid, target: bool| {
        let target = if target { &raw mut found } else { null_mut() };
        call!(machine, handle_protocol(handle, protocol, target))
    };
    check(
        "HandleProtocol",
        &[
            ("no handle", get(null_mut(), &A, true), INVALID),
            ("no protocol", get(handle, null(), true), INVALID),
            ("no interface", get(handle, &A, false), INVALID),
            (
                "a protocol that the handle lacks",
                get(handle, &B, true),
                Status::UNSUPPORTED,
            ),
            ("a protocol", get(handle, &A, true), OK),
        ],
    );
    let mut open_to = |protocol: *const Guid, agent, controller, attributes, target: bool| {
        let target = if target { &raw mut found } else { null_mut() };
        call!(
            machine,
            open_protocol(handle, protocol, target, agent, controller, attributes)
        )
    };
    check(
        "OpenProtocol",
        &[
            ("no protocol", open_to(null(), agent, other, 2, true), INVALID),
            ("no interface", open_to(&A, agent, other, 2, false), INVALID),
            ("no interface in a test", open_to(&A, agent, other, 4, false), OK),
            ("no attributes", open_to(&A, agent, other, 0, true), INVALID),
            ("two attributes", open_to(&A, agent, other, 3, true), INVALID),
            (
                "a driver without an agent",
                open_to(&A, null_mut(), other, BY_DRIVER, true),
                INVALID,
            ),
            (
                "a driver without a controller",
                open_to(&A, agent, null_mut(), BY_DRIVER, true),
                INVALID,
            ),
            (
                "a wrong exclusive agent",
                open_to(&A, wrong(), other, EXCLUSIVE, true),
                INVALID,
            ),
            (
                "a child that is the handle",
                open_to(&A, agent, handle, BY_CHILD, true),
                INVALID,
            ),
            (
                "a protocol that the handle lacks",
                open_to(&B, agent, other, BY_DRIVER, true),
                Status::UNSUPPORTED,
            ),
            ("a driver", open_to(&A, agent, other, BY_DRIVER, true), OK),
            (
                "the driver again",
                open_to(&A, agent, other, BY_DRIVER, true),
                Status::ALREADY_STARTED,
            ),
            (
                "the driver for another controller",
                open_to(&A, agent, agent, BY_DRIVER, true),
                Status::ALREADY_STARTED,
            ),
            (
                "another driver",
                open_to(&A, other, other, BY_DRIVER, true),
                Status::ACCESS_DENIED,
            ),
        ],
    );
    let close = |handle, protocol: *const Guid, agent, controller| {
        call!(machine, close_protocol(handle, protocol, agent, controller))
    };
    check(
        "CloseProtocol",
        &[
            ("a wrong handle", close(wrong(), &A, agent, other), INVALID),
            ("no agent", close(handle, &A, null_mut(), other), INVALID),
            ("a wrong controller", close(handle, &A, agent, wrong()), INVALID),
            ("no protocol", close(handle, null(), agent, other), INVALID),
            (
                "a protocol that the handle lacks",
                close(handle, &B, agent, other),
                NOT_FOUND,
            ),
            (
                "an agent that has not opened it",
                close(handle, &A, other, other),
                NOT_FOUND,
            ),
            ("the driver", close(handle, &A, agent, other), OK),
        ],
    );
    let (mut entries, mut count) = (null_mut(), 0);
    let mut information = |protocol: &Guid| {
        call!(
            machine,
            open_protocol_information(handle, protocol, &raw mut entries, &raw mut count)
        )
    };
    check(
        "OpenProtocolInformation",
        &[
            ("a protocol that the handle lacks", information(&B), NOT_FOUND),
            ("a protocol", information(&A), OK),
        ],
    );
    let (mut protocols, mut count) = (null_mut(), 0);
    let mut list = |handle, target: bool| {
        let target = if target { &raw mut protocols } else { null_mut() };
        call!(machine, protocols_per_handle(handle, target, &raw mut count))
    };
    check(
        "ProtocolsPerHandle",
        &[
            ("no handle", list(null_mut(), true), INVALID),
            ("a wrong handle", list(wrong(), true), INVALID),
            ("no buffer", list(handle, false), INVALID),
            ("a handle", list(handle, true), OK),
        ],
    );
}
