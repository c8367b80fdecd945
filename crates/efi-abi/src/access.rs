//! Pointers of callers.
//!
//! All functions are unsafe for one reason: a caller of a service must pass pointers that are null or valid for the access that the
//! specification has for the service. Images are as trusted as the firmware; nothing can protect it from wrong pointers. Null is an
//! error everywhere, and accesses need no alignment.
#![expect(
    unsafe_code,
    reason = "reads and writes through pointers of the callers of services"
)]

use alloc::vec::Vec;

use efi_core::device_path::{DevicePath, Header};
use efi_core::{Guid, Result, Status};
use uefi_raw::Status as RawStatus;

/// The status that a service returns.
#[expect(clippy::needless_pass_by_value, reason = "the result ends here")]
pub(crate) fn reply<T>(result: Result<T>) -> RawStatus {
    raw(Status::of(&result))
}

/// The status in the type of the tables.
pub(crate) const fn raw(status: Status) -> RawStatus {
    RawStatus(status.0)
}

/// The address of a pointer as a number.
pub(crate) fn address<T: ?Sized>(pointer: *const T) -> u64 {
    let address: usize = pointer.cast::<()>().expose_provenance();
    address as u64
}

/// A field of a structure at its offset.
pub(crate) const fn field<T, F>(base: *mut T, offset: usize) -> *mut F {
    base.wrapping_byte_add(offset).cast()
}

/// A pointer from an address that another image or the firmware has exposed.
pub(crate) fn pointer<T>(address: u64) -> *mut T {
    let address = usize::try_from(address).unwrap_or(0);
    core::ptr::with_exposed_provenance_mut(address)
}

/// Writes an output parameter.
///
/// # Safety
///
/// `target` is null or valid for a write.
pub(crate) unsafe fn write<T>(target: *mut T, value: T) -> Result<()> {
    if target.is_null() {
        return Err(Status::INVALID_PARAMETER);
    }
    // SAFETY: the pointer is not null, and valid for a write by the contract; no alignment is needed.
    unsafe { target.write_unaligned(value) };
    Ok(())
}

/// Reads an input parameter.
///
/// # Safety
///
/// `source` is null or valid for a read of an initialised value.
pub(crate) unsafe fn read<T: Copy>(source: *const T) -> Result<T> {
    if source.is_null() {
        return Err(Status::INVALID_PARAMETER);
    }
    // SAFETY: the pointer is not null, and valid for a read by the contract; no alignment is needed.
    Ok(unsafe { source.read_unaligned() })
}

/// Reads a GUID.
///
/// # Safety
///
/// `source` is null or valid for a read.
pub(crate) unsafe fn guid(source: *const Guid) -> Result<Guid> {
    // SAFETY: the contract is the same.
    unsafe { read(source) }
}

/// The bytes of an input buffer; an empty one may be null.
///
/// # Safety
///
/// `source` is null or valid for reads of `len` bytes, which nobody writes during `'a`.
pub(crate) unsafe fn bytes<'a>(source: *const u8, len: usize) -> Result<&'a [u8]> {
    if len == 0 {
        return Ok(&[]);
    }
    if source.is_null() || isize::try_from(len).is_err() {
        return Err(Status::INVALID_PARAMETER);
    }
    // SAFETY: valid for reads by the contract, and not longer than an allocation can be.
    Ok(unsafe { core::slice::from_raw_parts(source, len) })
}

/// The bytes of an output buffer; an empty one may be null.
///
/// # Safety
///
/// `target` is null or valid for reads and writes of `len` bytes, which nobody else accesses during `'a`.
pub(crate) unsafe fn bytes_mut<'a>(target: *mut u8, len: usize) -> Result<&'a mut [u8]> {
    if len == 0 {
        return Ok(&mut []);
    }
    if target.is_null() || isize::try_from(len).is_err() {
        return Err(Status::INVALID_PARAMETER);
    }
    // SAFETY: valid for writes by the contract, and not longer than an allocation can be. Buffers of callers are memory that
    // was allocated or zeroed before; every bit pattern is a byte.
    Ok(unsafe { core::slice::from_raw_parts_mut(target, len) })
}

/// Copies bytes to an output buffer of a size that the caller passes and gets: `BUFFER_TOO_SMALL` with the needed size if it
/// is too small.
///
/// # Safety
///
/// `size` is null or valid for reads and writes, `target` is null or valid for writes of that many bytes.
pub(crate) unsafe fn fill(size: *mut usize, target: *mut u8, data: &[u8]) -> Result<()> {
    // SAFETY: valid by the contract.
    let room = unsafe { read(size) }?;
    // SAFETY: valid by the contract.
    unsafe { write(size, data.len()) }?;
    if room < data.len() {
        return Err(Status::BUFFER_TOO_SMALL);
    }
    // SAFETY: the buffer has at least this length.
    unsafe { copy(target, data) }
}

/// Copies bytes to an output buffer.
///
/// # Safety
///
/// `target` is null or valid for writes of `data.len()` bytes.
pub(crate) unsafe fn copy(target: *mut u8, data: &[u8]) -> Result<()> {
    if data.is_empty() {
        return Ok(());
    }
    if target.is_null() {
        return Err(Status::INVALID_PARAMETER);
    }
    // SAFETY: both ranges are valid; the caller's buffer is not memory of the firmware.
    unsafe { core::ptr::copy(data.as_ptr(), target, data.len()) };
    Ok(())
}

/// Writes the units of a text with NUL.
///
/// # Safety
///
/// `target` is null or valid for writes of that many units.
pub(crate) unsafe fn copy_units(target: *mut u16, units: impl Iterator<Item = u16>) -> Result<()> {
    let mut next = target;
    for unit in units.chain([0]) {
        // SAFETY: the buffer has room for every unit by the contract.
        unsafe { write(next, unit) }?;
        next = next.wrapping_add(1);
    }
    Ok(())
}

/// Longest text that is read from a caller.
pub(crate) const MAX_TEXT: usize = 64 * 1024;

/// Number of units before the NUL, at most [`MAX_TEXT`].
///
/// # Safety
///
/// `source` is null or points to a text with NUL.
pub(crate) unsafe fn units_len(source: *const u16) -> Result<usize> {
    let mut len = 0;
    // SAFETY: every unit up to the NUL can be read by the contract.
    while unsafe { read(source.wrapping_add(len)) }? != 0 {
        len += 1;
        if len > MAX_TEXT {
            return Err(Status::INVALID_PARAMETER);
        }
    }
    Ok(len)
}

/// The units of a text before its NUL.
///
/// # Safety
///
/// `source` is null or points to a text with NUL.
pub(crate) unsafe fn units(source: *const u16) -> Result<Vec<u16>> {
    let mut units = Vec::new();
    // SAFETY: the contract is the same.
    let len = unsafe { units_len(source) }?;
    for index in 0..len {
        // SAFETY: the text has this length.
        units.push(unsafe { read(source.wrapping_add(index)) }?);
    }
    Ok(units)
}

/// The device path at a pointer.
///
/// # Safety
///
/// `source` is null or points to a device path, which nobody writes during `'a`.
pub(crate) unsafe fn device_path<'a>(source: *const u8) -> Result<DevicePath<'a>> {
    let mut len = 0;
    loop {
        // SAFETY: every node up to the end node can be read by the contract.
        let header = unsafe { read(source.wrapping_add(len).cast::<[u8; 4]>()) }?;
        let header = Header::read(len, header)?;
        len += header.len;
        if header.is_end {
            break;
        }
    }
    // SAFETY: the nodes that were read have this length together.
    let bytes = unsafe { bytes(source, len) }?;
    Ok(DevicePath::parse(bytes)?)
}
