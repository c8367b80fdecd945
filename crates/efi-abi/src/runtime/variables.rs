//! Variable services, UEFI 2.10 section 8.2.
#![expect(unsafe_code, reason = "services called by images and the operating system")]

use efi_core::variables::MAX_NAME;
use efi_core::{Guid, Result, Status};
use uefi_raw::Status as RawStatus;
use uefi_raw::table::runtime::VariableAttributes;

use super::block::with_runtime;
use crate::access::{bytes, copy, copy_units, guid, read, reply, write};
use crate::stored;

/// A name on the stack: runtime services have no heap.
struct Name {
    units: [u16; MAX_NAME],
    len: usize,
}

impl Name {
    /// # Safety
    ///
    /// `source` is null or points to a text with NUL.
    unsafe fn read(source: *const u16) -> Result<Self> {
        let mut name = Self {
            units: [0; MAX_NAME],
            len: 0,
        };
        loop {
            // SAFETY: every unit up to the NUL can be read by the contract.
            let unit = unsafe { read(source.wrapping_add(name.len)) }?;
            if unit == 0 {
                return Ok(name);
            }
            *name.units.get_mut(name.len).ok_or(Status::INVALID_PARAMETER)? = unit;
            name.len += 1;
        }
    }

    fn as_units(&self) -> &[u16] {
        self.units.get(..self.len).unwrap_or(&[])
    }
}

/// `GetVariable`.
pub(super) unsafe extern "efiapi" fn get_variable(
    name: *const u16,
    vendor: *const Guid,
    attributes: *mut VariableAttributes,
    size: *mut usize,
    data: *mut u8,
) -> RawStatus {
    // SAFETY: the caller passes null or valid pointers.
    reply(unsafe { get(name, vendor, attributes, size, data) })
}

unsafe fn get(
    name: *const u16,
    vendor: *const Guid,
    attributes: *mut VariableAttributes,
    size: *mut usize,
    data: *mut u8,
) -> Result<()> {
    // SAFETY: null or valid by the contract of the service.
    let name = unsafe { Name::read(name) }?;
    // SAFETY: as above.
    let vendor = unsafe { guid(vendor) }?;
    // SAFETY: as above.
    let room = unsafe { read(size) }?;
    with_runtime(|state| {
        let entry = state.variables.get(name.as_units(), vendor)?;
        if !attributes.is_null() {
            let found = VariableAttributes::from_bits_retain(entry.attributes.bits());
            // SAFETY: not null, so valid by the contract of the service.
            unsafe { write(attributes, found) }?;
        }
        // SAFETY: null or valid by the contract of the service.
        unsafe { write(size, entry.data.len()) }?;
        if room < entry.data.len() {
            return Err(Status::BUFFER_TOO_SMALL);
        }
        // SAFETY: the caller's buffer has `room` bytes, and is not the store.
        unsafe { copy(data, entry.data) }
    })
}

/// `GetNextVariableName`.
pub(super) unsafe extern "efiapi" fn get_next_variable_name(
    size: *mut usize,
    name: *mut u16,
    vendor: *mut Guid,
) -> RawStatus {
    // SAFETY: the caller passes null or valid pointers.
    reply(unsafe { next(size, name, vendor) })
}

unsafe fn next(size: *mut usize, name: *mut u16, vendor: *mut Guid) -> Result<()> {
    // SAFETY: null or valid by the contract of the service.
    let room = unsafe { read(size) }?;
    // SAFETY: as above.
    let last = unsafe { Name::read(name) }?;
    // SAFETY: as above.
    let guid = unsafe { guid(vendor) }?;
    if (last.len + 1) * 2 > room {
        return Err(Status::INVALID_PARAMETER);
    }
    with_runtime(|state| {
        let entry = state.variables.next(last.as_units(), guid)?;
        let needed = entry.name.len() + 2;
        // SAFETY: null or valid by the contract of the service.
        unsafe { write(size, needed) }?;
        if room < needed {
            return Err(Status::BUFFER_TOO_SMALL);
        }
        // SAFETY: as above.
        unsafe { write(vendor, entry.guid) }?;
        // SAFETY: the caller's buffer has `room` bytes.
        unsafe { copy_units(name, entry.units()) }
    })
}

/// `SetVariable`.
pub(super) unsafe extern "efiapi" fn set_variable(
    name: *const u16,
    vendor: *const Guid,
    attributes: VariableAttributes,
    size: usize,
    data: *const u8,
) -> RawStatus {
    // SAFETY: the caller passes null or valid pointers.
    reply(unsafe { set(name, vendor, attributes.bits(), size, data) })
}

unsafe fn set(
    name: *const u16,
    vendor: *const Guid,
    attributes: u32,
    size: usize,
    data: *const u8,
) -> Result<()> {
    // SAFETY: null or valid by the contract of the service.
    let name = unsafe { Name::read(name) }?;
    // SAFETY: as above.
    let vendor = unsafe { guid(vendor) }?;
    // SAFETY: as above; the buffer is not the store.
    let data = unsafe { bytes(data, size) }?;
    if with_runtime(|state| Ok(state.at_runtime))? {
        // Nothing of the boot services exists any more: neither their state nor the disk.
        return with_runtime(|state| state.variables.set(name.as_units(), vendor, attributes, data));
    }
    stored::set(name.as_units(), vendor, attributes, data)
}

/// `QueryVariableInfo`.
pub(super) unsafe extern "efiapi" fn query_variable_info(
    attributes: VariableAttributes,
    maximum_storage: *mut u64,
    remaining_storage: *mut u64,
    maximum_variable: *mut u64,
) -> RawStatus {
    if maximum_storage.is_null() || remaining_storage.is_null() || maximum_variable.is_null() {
        return reply::<()>(Err(Status::INVALID_PARAMETER));
    }
    reply(with_runtime(|state| {
        let info = state.variables.query(attributes.bits())?;
        // SAFETY: the caller passes valid pointers.
        unsafe { write(maximum_storage, info.maximum_storage) }?;
        // SAFETY: as above.
        unsafe { write(remaining_storage, info.remaining_storage) }?;
        // SAFETY: as above.
        unsafe { write(maximum_variable, info.maximum_variable) }
    }))
}
