//! The table of boot services.
//!
//! It is in memory that images may write: shim replaces `LoadImage`, `StartImage`, `Exit` and `UnloadImage` in it. The firmware never
//! calls through it.
#![expect(
    unsafe_code,
    reason = "the two C-variadic services have a type that Rust cannot define functions of"
)]

use core::mem::transmute;

use uefi_raw::table::boot::BootServices;
use uefi_raw::table::{Header, Revision};
use uefi_raw::{Handle, Status};

use super::buffers::{calculate_crc32, copy_mem, set_mem};
use super::clock::{get_next_monotonic_count, set_watchdog_timer, stall};
use super::configuration::install_configuration_table;
use super::drivers::{connect_controller, disconnect_controller};
use super::events::{
    check_event, close_event, create_event, create_event_ex, raise_tpl, restore_tpl, set_timer, signal_event,
    wait_for_event,
};
use super::exit::exit_boot_services;
use super::image::{exit, load_image, start_image, unload_image};
use super::memory::{allocate_pages, allocate_pool, free_pages, free_pool, get_memory_map};
use super::protocols::{
    close_protocol, handle_protocol, install_protocol_interface, open_protocol, open_protocol_information,
    protocols_per_handle, reinstall_protocol_interface, uninstall_protocol_interface,
};
use super::search::{
    locate_device_path, locate_handle, locate_handle_buffer, locate_protocol, register_protocol_notify,
};
use crate::arch;

/// "BOOTSERV".
const SIGNATURE: u64 = 0x5652_4553_544f_4f42;

type Install = unsafe extern "C" fn(*mut Handle, ...) -> Status;
type Uninstall = unsafe extern "C" fn(Handle, ...) -> Status;

/// The table, without its CRC.
pub(crate) fn table() -> BootServices {
    let install: unsafe extern "efiapi" fn() = arch::install_multiple;
    let uninstall: unsafe extern "efiapi" fn() = arch::uninstall_multiple;
    BootServices {
        header: Header {
            signature: SIGNATURE,
            revision: Revision::EFI_2_100,
            size: u32::try_from(size_of::<BootServices>()).unwrap_or(0),
            crc: 0,
            reserved: 0,
        },
        raise_tpl,
        restore_tpl,
        allocate_pages,
        free_pages,
        get_memory_map,
        allocate_pool,
        free_pool,
        create_event,
        set_timer,
        wait_for_event,
        signal_event,
        close_event,
        check_event,
        install_protocol_interface,
        reinstall_protocol_interface,
        uninstall_protocol_interface,
        handle_protocol,
        reserved: core::ptr::null_mut(),
        register_protocol_notify,
        locate_handle,
        locate_device_path,
        install_configuration_table,
        load_image,
        start_image,
        exit,
        unload_image,
        exit_boot_services,
        get_next_monotonic_count,
        stall,
        set_watchdog_timer,
        connect_controller,
        disconnect_controller,
        open_protocol,
        close_protocol,
        open_protocol_information,
        protocols_per_handle,
        locate_handle_buffer,
        locate_protocol,
        // SAFETY: the function takes variable arguments by the convention of UEFI, for which the field's type stands.
        install_multiple_protocol_interfaces: unsafe {
            transmute::<unsafe extern "efiapi" fn(), Install>(install)
        },
        // SAFETY: as above.
        uninstall_multiple_protocol_interfaces: unsafe {
            transmute::<unsafe extern "efiapi" fn(), Uninstall>(uninstall)
        },
        calculate_crc32,
        copy_mem,
        set_mem,
        create_event_ex,
    }
}
