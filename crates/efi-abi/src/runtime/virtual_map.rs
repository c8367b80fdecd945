//! `SetVirtualAddressMap` and `ConvertPointer`, UEFI 2.10 section 8.4.
#![expect(unsafe_code, reason = "services called by the operating system")]

use core::ffi::c_void;
use core::mem::offset_of;

use efi_core::events::{Event, Notification, Notify, Tpl};
use efi_core::{Result, Status};
use uefi_raw::Status as RawStatus;
use uefi_raw::table::boot::{MemoryAttribute, MemoryDescriptor};
use uefi_raw::table::runtime::RuntimeServices;
use uefi_raw::table::system::SystemTable;

use super::block::{RuntimeBlock, block, seal_tables, set_block, with_runtime};
use crate::access::{address, field, pointer, raw, read, reply, write};
use crate::notify;

/// `EFI_OPTIONAL_PTR`: null is converted to null.
const OPTIONAL: usize = 1;

/// The virtual address of a physical one by the map of the operating system; `None` if no runtime region has it.
fn virtual_address(map: (u64, usize, usize), physical: u64) -> Option<u64> {
    let (start, len, distance) = map;
    let count = len.checked_div(distance)?;
    for index in 0..count {
        let descriptor = pointer::<MemoryDescriptor>(start).wrapping_byte_add(index * distance);
        // SAFETY: the caller of SetVirtualAddressMap passes this many descriptors.
        let descriptor = unsafe { read(descriptor) }.ok()?;
        let offset = physical.wrapping_sub(descriptor.phys_start);
        let is_inside = physical >= descriptor.phys_start && offset / 4096 < descriptor.page_count;
        if is_inside && descriptor.att.contains(MemoryAttribute::RUNTIME) {
            return descriptor.virt_start.checked_add(offset);
        }
    }
    None
}

/// `ConvertPointer`.
pub(super) unsafe extern "efiapi" fn convert_pointer(
    disposition: usize,
    target: *mut *mut c_void,
) -> RawStatus {
    // SAFETY: the caller passes null or a valid pointer.
    reply(unsafe { convert(disposition, target) })
}

unsafe fn convert(disposition: usize, target: *mut *mut c_void) -> Result<()> {
    // SAFETY: null or valid by the contract of the service.
    let old = unsafe { read(target) }?;
    let map = with_runtime(|state| Ok(state.virtual_map))?;
    if map.0 == 0 {
        return Err(Status::UNSUPPORTED);
    }
    if old.is_null() {
        return if disposition & OPTIONAL != 0 {
            Ok(())
        } else {
            Err(Status::INVALID_PARAMETER)
        };
    }
    let new = virtual_address(map, address(old)).ok_or(Status::NOT_FOUND)?;
    // SAFETY: null or valid by the contract of the service.
    unsafe { write(target, pointer(new)) }
}

/// `SetVirtualAddressMap`: once, after `ExitBootServices`.
pub(super) unsafe extern "efiapi" fn set_virtual_address_map(
    len: usize,
    distance: usize,
    version: u32,
    map: *const MemoryDescriptor,
) -> RawStatus {
    reply(set_map(len, distance, version, map))
}

fn set_map(len: usize, distance: usize, version: u32, map: *const MemoryDescriptor) -> Result<()> {
    let block = block()?;
    let is_sized = distance >= size_of::<MemoryDescriptor>() && len.checked_rem(distance) == Some(0);
    if map.is_null() || !is_sized || version != MemoryDescriptor::VERSION {
        return Err(Status::INVALID_PARAMETER);
    }
    let map = (address(map), len, distance);
    let count = with_runtime(|state| {
        if !state.at_runtime || state.is_virtual {
            return Err(Status::UNSUPPORTED);
        }
        state.is_virtual = true;
        state.virtual_map = map;
        Ok(state.event_count)
    })?;
    for index in 0..count {
        let event = with_runtime(|state| state.events.get(index).copied().ok_or(Status::NOT_FOUND))?;
        notify::call(&Notification {
            event: Event(event.event),
            tpl: Tpl::NOTIFY,
            notify: Notify {
                function: event.function,
                context: event.context,
            },
        });
    }
    let converted = |old: u64| virtual_address(map, old).unwrap_or(old);
    with_runtime(|state| {
        state.virtual_map = (0, 0, 0);
        let hooks = &mut state.hooks;
        hooks.context = pointer(converted(address(hooks.context)));
        convert_field((&raw mut hooks.get_time).cast(), &converted);
        convert_field((&raw mut hooks.set_time).cast(), &converted);
        convert_field((&raw mut hooks.reset).cast(), &converted);
        Ok(())
    })?;
    convert_tables(block, &converted);
    seal_tables(block);
    set_block(pointer(converted(address(block))));
    Ok(())
}

/// Converts the address in a field of 8 bytes.
fn convert_field(place: *mut u64, converted: &impl Fn(u64) -> u64) {
    // SAFETY: callers pass fields of the structure that hold a pointer to data or code, which have the size of `u64`.
    let old = unsafe { place.read() };
    // SAFETY: as above; the value is only changed to the same object at its virtual address.
    unsafe { place.write(converted(old)) };
}

/// Converts the pointers of the tables.
fn convert_tables(block: *mut RuntimeBlock, converted: &impl Fn(u64) -> u64) {
    let system = field::<_, u64>(block, offset_of!(RuntimeBlock, system));
    let fields = [
        offset_of!(SystemTable, firmware_vendor),
        offset_of!(SystemTable, runtime_services),
        offset_of!(SystemTable, configuration_table),
    ];
    for offset in fields {
        convert_field(system.wrapping_byte_add(offset), converted);
    }
    let services = field::<_, u64>(block, offset_of!(RuntimeBlock, runtime));
    // Everything after the header is a function.
    let words = size_of::<RuntimeServices>() / 8;
    for index in 3..words {
        convert_field(services.wrapping_add(index), converted);
    }
}

/// A status for services that do not exist at runtime.
pub(super) const UNSUPPORTED: RawStatus = raw(Status::UNSUPPORTED);
