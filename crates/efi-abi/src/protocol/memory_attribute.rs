//! `EFI_MEMORY_ATTRIBUTE_PROTOCOL`, UEFI 2.10 section 37.3.
#![expect(unsafe_code, reason = "functions called by images")]

use efi_core::memory::{Attributes, MemoryType, PAGE_SIZE};
use efi_core::{Result, Status};
use uefi_raw::Status as RawStatus;
use uefi_raw::protocol::memory_protection::MemoryAttributeProtocol;
use uefi_raw::table::boot::MemoryAttribute;

use crate::access::{reply, write};
use crate::state::{State, with};

type This = *const MemoryAttributeProtocol;

/// The interface.
pub(crate) fn interface() -> MemoryAttributeProtocol {
    MemoryAttributeProtocol {
        get_memory_attributes,
        set_memory_attributes,
        clear_memory_attributes,
    }
}

/// Checks that a range is memory: `UNSUPPORTED` elsewhere.
fn check(state: &State, start: u64, len: u64) -> Result<()> {
    if !start.is_multiple_of(PAGE_SIZE) || !len.is_multiple_of(PAGE_SIZE) || len == 0 {
        return Err(Status::INVALID_PARAMETER);
    }
    let is_memory = |kind: MemoryType, _| kind != MemoryType::MMIO && kind != MemoryType::MMIO_PORT_SPACE;
    if state.memory.map.all_pages(start, len / PAGE_SIZE, is_memory) {
        Ok(())
    } else {
        Err(Status::UNSUPPORTED)
    }
}

unsafe extern "efiapi" fn get_memory_attributes(
    _: This,
    start: u64,
    len: u64,
    target: *mut MemoryAttribute,
) -> RawStatus {
    if target.is_null() {
        return reply::<()>(Err(Status::INVALID_PARAMETER));
    }
    let found = with(|state| {
        check(state, start, len)?;
        state.memory.protections.get(start, len)
    });
    reply(found.and_then(|found| {
        let value = MemoryAttribute::from_bits_retain(found.bits());
        // SAFETY: not null, so valid by the contract of the function.
        unsafe { write(target, value) }
    }))
}

/// Changes protections in the model, then in the page tables, range by range of equal protections.
fn change(
    start: u64,
    len: u64,
    attributes: MemoryAttribute,
    action: impl FnOnce(&mut State, Attributes) -> Result<()>,
) -> Result<()> {
    let attributes = Attributes::from_bits(attributes.bits()).ok_or(Status::INVALID_PARAMETER)?;
    with(|state| {
        check(state, start, len)?;
        action(state, attributes)?;
        let end = start + len;
        let mut next = start;
        while next < end {
            let found = state.memory.protections.get(next, PAGE_SIZE)?;
            let mut count = PAGE_SIZE;
            while next + count < end && state.memory.protections.get(next + count, PAGE_SIZE) == Ok(found) {
                count += PAGE_SIZE;
            }
            state.platform.protect(next, count, found)?;
            next += count;
        }
        Ok(())
    })
}

unsafe extern "efiapi" fn set_memory_attributes(
    _: This,
    start: u64,
    len: u64,
    attributes: MemoryAttribute,
) -> RawStatus {
    reply(change(start, len, attributes, |state, attributes| {
        state.memory.protections.set(start, len, attributes)
    }))
}

unsafe extern "efiapi" fn clear_memory_attributes(
    _: This,
    start: u64,
    len: u64,
    attributes: MemoryAttribute,
) -> RawStatus {
    reply(change(start, len, attributes, |state, attributes| {
        state.memory.protections.clear(start, len, attributes)
    }))
}
