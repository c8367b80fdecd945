//! Memory services, UEFI 2.10 section 7.2.
#![expect(unsafe_code, reason = "services called by images")]

use efi_core::memory::{MemoryType, Placement};
use efi_core::{Result, Status};
use uefi_raw::Status as RawStatus;
use uefi_raw::table::boot::{AllocateType, MemoryAttribute, MemoryDescriptor, MemoryType as RawType};

use crate::access::{pointer, read, reply, write};
use crate::state::with;

/// Distance of descriptors in `GetMemoryMap`: larger than a descriptor, so that callers use it.
const DISTANCE: usize = 48;

/// `AllocatePages`.
pub(super) unsafe extern "efiapi" fn allocate_pages(
    how: AllocateType,
    kind: RawType,
    pages: usize,
    target: *mut u64,
) -> RawStatus {
    // SAFETY: the caller passes null or a valid pointer.
    let wanted = match unsafe { read(target) } {
        Ok(wanted) => wanted,
        Err(status) => return reply::<()>(Err(status)),
    };
    let placement = match how {
        AllocateType::ANY_PAGES => Placement::Any,
        AllocateType::MAX_ADDRESS => Placement::Max(wanted),
        AllocateType::ADDRESS => Placement::At(wanted),
        _ => return reply::<()>(Err(Status::INVALID_PARAMETER)),
    };
    let result = with(|state| {
        state
            .memory
            .map
            .allocate(placement, MemoryType(kind.0), pages as u64)
    });
    // SAFETY: the caller passes a valid pointer.
    reply(result.and_then(|start| unsafe { write(target, start) }))
}

/// `FreePages`.
pub(super) unsafe extern "efiapi" fn free_pages(start: u64, pages: usize) -> RawStatus {
    reply(with(|state| {
        let platform = &mut *state.platform;
        state.memory.free_pages(platform, start, pages as u64)
    }))
}

/// `GetMemoryMap`.
pub(super) unsafe extern "efiapi" fn get_memory_map(
    size: *mut usize,
    map: *mut MemoryDescriptor,
    key: *mut usize,
    distance: *mut usize,
    version: *mut u32,
) -> RawStatus {
    // SAFETY: the caller passes null or valid pointers.
    reply(unsafe { memory_map(size, map, key, distance, version) })
}

unsafe fn memory_map(
    size: *mut usize,
    map: *mut MemoryDescriptor,
    key: *mut usize,
    distance: *mut usize,
    version: *mut u32,
) -> Result<()> {
    // SAFETY: null or valid by the contract of the service.
    let room = unsafe { read(size) }?;
    with(|state| {
        let needed = state.memory.map.descriptors().count() * DISTANCE;
        // SAFETY: as above.
        unsafe { write(size, needed) }?;
        if !distance.is_null() {
            // SAFETY: not null, so valid.
            unsafe { write(distance, DISTANCE) }?;
        }
        if !version.is_null() {
            // SAFETY: not null, so valid.
            unsafe { write(version, MemoryDescriptor::VERSION) }?;
        }
        if room < needed {
            return Err(Status::BUFFER_TOO_SMALL);
        }
        // The caller has the map and the table that describes it.
        state.attributes_table.update(&state.memory)?;
        let mut target = map;
        for descriptor in state.memory.map.descriptors() {
            let value = MemoryDescriptor {
                ty: RawType(descriptor.kind.0),
                padding: 0,
                phys_start: descriptor.start,
                virt_start: 0,
                page_count: descriptor.pages,
                att: MemoryAttribute::from_bits_retain(descriptor.attributes.bits()),
            };
            // SAFETY: the buffer has room for all descriptors.
            unsafe { write(target, value) }?;
            target = target.wrapping_byte_add(DISTANCE);
        }
        if !key.is_null() {
            let number = usize::try_from(state.memory.map.key()).or(Err(Status::DEVICE_ERROR))?;
            // SAFETY: not null, so valid.
            unsafe { write(key, number) }?;
        }
        Ok(())
    })
}

/// `AllocatePool`.
pub(super) unsafe extern "efiapi" fn allocate_pool(
    kind: RawType,
    size: usize,
    target: *mut *mut u8,
) -> RawStatus {
    if target.is_null() {
        return reply::<()>(Err(Status::INVALID_PARAMETER));
    }
    let result = with(|state| state.memory.allocate(MemoryType(kind.0), size));
    // SAFETY: the caller passes a valid pointer.
    reply(result.and_then(|start| unsafe { write(target, pointer(start)) }))
}

/// `FreePool`.
pub(super) unsafe extern "efiapi" fn free_pool(buffer: *mut u8) -> RawStatus {
    reply(with(|state| state.memory.free(crate::access::address(buffer))))
}
