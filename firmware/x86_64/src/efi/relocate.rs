//! `SetVirtualAddressMap` for this program: the global offset table gets virtual addresses.
//!
//! Code refers to all else relative to the program counter, but calls functions of the compiler's library, such as `memcpy`, by addresses in
//! the table.
#![expect(unsafe_code, reason = "the tables of runtime services and of the linker")]

use core::hint::black_box;
use core::ptr;
use core::sync::atomic::{AtomicPtr, Ordering};

use efi_abi::raw::Status;
use efi_abi::raw::table::boot::MemoryDescriptor;
use efi_abi::raw::table::runtime::RuntimeServices;
use efi_abi::raw::table::system::SystemTable;
use efi_core::crc::table_crc32;
use efi_core::memory::PAGE_SIZE;
use fw_runtime::address;

/// The service.
type SetVirtualAddressMap = unsafe extern "efiapi" fn(
    len: usize,
    distance: usize,
    version: u32,
    map: *const MemoryDescriptor,
) -> Status;

unsafe extern "C" {
    static __firmware_start: u8;
    static __firmware_end: u8;
    static __got_start: u64;
    static __got_end: u64;
}

/// The service of `efi-abi`.
static SERVICE: AtomicPtr<()> = AtomicPtr::new(ptr::null_mut());

/// Puts [`set_virtual_address_map`] in the table of runtime services.
///
/// # Safety
///
/// `table` is the system table of the firmware, which nobody else uses.
pub(super) unsafe fn install(table: *mut SystemTable) {
    // SAFETY: the caller guarantees that the table is valid.
    let services = unsafe { (*table).runtime_services };
    // SAFETY: as above.
    let services = unsafe { &mut *services };
    SERVICE.store(services.set_virtual_address_map as *mut (), Ordering::Relaxed);
    services.set_virtual_address_map = set_virtual_address_map;
    let bytes = ptr::from_mut(services).cast_const().cast::<u8>();
    // SAFETY: the table consists of numbers and addresses without padding, and is not changed while the reference exists.
    let bytes = unsafe { core::slice::from_raw_parts(bytes, size_of::<RuntimeServices>()) };
    let crc = table_crc32(bytes);
    services.header.crc = crc;
}

/// The distance from physical to virtual addresses of the region that has the firmware's first byte.
///
/// # Safety
///
/// `map` has `len` bytes of descriptors with this distance.
unsafe fn distance_of(map: *const MemoryDescriptor, len: usize, distance: usize) -> Option<u64> {
    let start = address(&raw const __firmware_start);
    (0..len.checked_div(distance)?).find_map(|index| {
        let descriptor = map.wrapping_byte_add(index.wrapping_mul(distance));
        // SAFETY: the caller guarantees that there are as many descriptors.
        let descriptor = unsafe { descriptor.read_unaligned() };
        let offset = start.checked_sub(descriptor.phys_start)?;
        (offset / PAGE_SIZE < descriptor.page_count)
            .then(|| descriptor.virt_start.wrapping_sub(descriptor.phys_start))
    })
}

/// The service, and then the changes of the table: nothing of the program runs at physical addresses afterwards.
unsafe extern "efiapi" fn set_virtual_address_map(
    len: usize,
    distance: usize,
    version: u32,
    map: *const MemoryDescriptor,
) -> Status {
    let service = SERVICE.load(Ordering::Relaxed);
    // SAFETY: `install` stored a function of this type.
    let service: SetVirtualAddressMap = unsafe { core::mem::transmute(service) };
    // SAFETY: the caller fulfils the contract of the service.
    let status = unsafe { service(len, distance, version, map) };
    if status != Status::SUCCESS {
        return status;
    }
    // SAFETY: the service has checked the arguments.
    if let Some(distance) = unsafe { distance_of(map, len, distance) } {
        // These addresses are in the table themselves: they are read once, before it changes.
        let [start, end] = [
            black_box(address(&raw const __firmware_start)),
            black_box(address(&raw const __firmware_end)),
        ];
        let mut entry = black_box(&raw const __got_start).cast_mut();
        let last = black_box(&raw const __got_end).cast_mut();
        while entry < last {
            // SAFETY: the linker script gives the table this place, in writable memory, with the alignment of its entries.
            let addr = unsafe { entry.read_volatile() };
            if (start..end).contains(&addr) {
                // SAFETY: as above.
                unsafe { entry.write_volatile(addr.wrapping_add(distance)) };
            }
            entry = entry.wrapping_add(1);
        }
    }
    status
}
