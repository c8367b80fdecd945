//! The table of runtime services, and the functions in it.
//!
//! On arm64 they keep `x18`: it belongs to the operating system (AAPCS64, "platform register"), and compilers use it as any other register
//! on the targets of firmware. Linux keeps its shadow call stack there. Services that use no registers are in the table themselves.
#![cfg_attr(
    target_arch = "aarch64",
    expect(unsafe_code, reason = "naked functions that keep a register")
)]

#[cfg(target_arch = "aarch64")]
use {
    core::ffi::c_void,
    efi_core::Guid,
    uefi_raw::Status,
    uefi_raw::table::boot::MemoryDescriptor,
    uefi_raw::table::runtime::{TimeCapabilities, VariableAttributes},
    uefi_raw::time::Time,
};

use uefi_raw::table::runtime::RuntimeServices;
use uefi_raw::table::{Header, Revision};

use super::services::{
    get_wakeup_time, query_capsule_capabilities, reset_system, set_wakeup_time, update_capsule,
};

/// "RUNTSERV".
const SIGNATURE: u64 = 0x5652_4553_544e_5552;

/// The table, without its CRC.
pub(crate) fn table() -> RuntimeServices {
    RuntimeServices {
        header: Header {
            signature: SIGNATURE,
            revision: Revision::EFI_2_100,
            size: u32::try_from(size_of::<RuntimeServices>()).unwrap_or(0),
            crc: 0,
            reserved: 0,
        },
        get_time,
        set_time,
        get_wakeup_time,
        set_wakeup_time,
        set_virtual_address_map,
        convert_pointer,
        get_variable,
        get_next_variable_name,
        set_variable,
        get_next_high_monotonic_count,
        reset_system,
        update_capsule,
        query_capsule_capabilities,
        query_variable_info,
    }
}

macro_rules! entries {
    ($($module:ident::$service:ident($($argument:ident: $type:ty),*);)*) => {$(
        #[cfg(not(target_arch = "aarch64"))]
        pub(super) use super::$module::$service;

        /// The service of this name.
        ///
        /// # Safety
        ///
        /// The arguments are those of the service.
        #[cfg(target_arch = "aarch64")]
        #[unsafe(naked)]
        pub(super) unsafe extern "efiapi" fn $service($($argument: $type),*) -> Status {
            core::arch::naked_asm!(
                "stp x18, x30, [sp, #-16]!",
                "bl {service}",
                "ldp x18, x30, [sp], #16",
                "ret",
                service = sym super::$module::$service,
            )
        }
    )*};
}

entries! {
    services::get_time(time: *mut Time, capabilities: *mut TimeCapabilities);
    services::set_time(time: *const Time);
    services::get_next_high_monotonic_count(count: *mut u32);
    virtual_map::set_virtual_address_map(len: usize, distance: usize, version: u32, map: *const MemoryDescriptor);
    virtual_map::convert_pointer(disposition: usize, target: *mut *mut c_void);
    variables::get_variable(
        name: *const u16,
        vendor: *const Guid,
        attributes: *mut VariableAttributes,
        size: *mut usize,
        data: *mut u8
    );
    variables::get_next_variable_name(size: *mut usize, name: *mut u16, vendor: *mut Guid);
    variables::set_variable(
        name: *const u16,
        vendor: *const Guid,
        attributes: VariableAttributes,
        size: usize,
        data: *const u8
    );
    variables::query_variable_info(
        attributes: VariableAttributes,
        maximum_storage: *mut u64,
        remaining_storage: *mut u64,
        maximum_variable: *mut u64
    );
}
