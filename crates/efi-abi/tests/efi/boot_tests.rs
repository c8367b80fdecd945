//! Memory, events and miscellaneous services.
#![expect(unsafe_code, reason = "services are called by their pointers")]

use std::ffi::c_void;
use std::ptr::{null, null_mut};
use std::sync::atomic::{AtomicUsize, Ordering};

use efi_abi::raw::table::boot::{
    AllocateType, EventType, MemoryDescriptor, MemoryType as RawType, TimerDelay, Tpl,
};
use efi_abi::raw::{Event, Status};
use efi_core::crc::{crc32, table_crc32};

use crate::machine::Machine;

/// The bytes of a table with its header.
fn table_bytes<T>(table: *const T) -> &'static [u8] {
    // SAFETY: tables of the firmware are valid during a test, and have initialised padding.
    unsafe { std::slice::from_raw_parts(table.cast(), size_of::<T>()) }
}

#[test]
fn tables_have_signatures_and_checksums() {
    let machine = Machine::new();
    let check = |bytes: &[u8], signature: &[u8; 8]| {
        assert_eq!(&bytes[..8], signature);
        assert_eq!(bytes[8..12], 0x2_0064_u32.to_le_bytes());
        assert_eq!(bytes[12..16], u32::try_from(bytes.len()).unwrap().to_le_bytes());
        assert_eq!(bytes[16..20], table_crc32(bytes).to_le_bytes());
    };
    check(table_bytes(machine.system), b"IBI SYST");
    check(table_bytes(machine.system().boot_services), b"BOOTSERV");
    check(table_bytes(machine.system().runtime_services), b"RUNTSERV");
    let vendor = machine.system().firmware_vendor;
    // SAFETY: the name ends with NUL.
    let vendor: Vec<u16> = (0..6).map(|index| unsafe { vendor.add(index).read() }).collect();
    assert_eq!(String::from_utf16(&vendor).unwrap(), "vmboot");
}

#[test]
fn pages_are_memory_that_the_map_lists() {
    let machine = Machine::new();
    let boot = machine.boot();
    let mut address = 0;
    // SAFETY: the pointers are valid.
    let status =
        unsafe { (boot.allocate_pages)(AllocateType::ANY_PAGES, RawType(0x8000_0001), 3, &raw mut address) };
    assert_eq!(status, Status::SUCCESS);
    let memory = std::ptr::with_exposed_provenance_mut::<u8>(address.try_into().unwrap());
    // SAFETY: the pages were allocated.
    unsafe { memory.write_bytes(0xa5, 3 * 4096) };

    let (mut size, mut key, mut distance, mut version) = (0, 0, 0, 0);
    let mut map = |size: &mut usize, target: *mut MemoryDescriptor| {
        // SAFETY: the buffer has the size.
        unsafe { (boot.get_memory_map)(size, target, &raw mut key, &raw mut distance, &raw mut version) }
    };
    assert_eq!(map(&mut size, null_mut()), Status::BUFFER_TOO_SMALL);
    let mut buffer = vec![0_u64; size / 8];
    assert_eq!(map(&mut size, buffer.as_mut_ptr().cast()), Status::SUCCESS);
    assert_eq!((distance, version), (48, 1));
    let found: Vec<_> = buffer
        .chunks_exact(6)
        .map(|words| (words[0], words[1], words[3]))
        .collect();
    assert!(found.contains(&(0x8000_0001, address, 3)), "{found:x?}");
    let runtime = buffer.chunks_exact(6).filter(|words| words[4] >> 63 == 1);
    assert!(runtime.clone().count() >= 1);
    assert!(runtime.clone().all(|words| words[0] == 6));

    let old_key = key;
    // SAFETY: the pages were allocated.
    assert_eq!(unsafe { (boot.free_pages)(address, 3) }, Status::SUCCESS);
    // SAFETY: they are not any more.
    assert_eq!(unsafe { (boot.free_pages)(address, 3) }, Status::NOT_FOUND);
    let mut key = 0;
    // SAFETY: the buffer has the size.
    let status = unsafe {
        (boot.get_memory_map)(
            &raw mut size,
            buffer.as_mut_ptr().cast(),
            &raw mut key,
            null_mut(),
            null_mut(),
        )
    };
    assert_eq!(status, Status::SUCCESS);
    assert_ne!(key, old_key);
    // SAFETY: a null pointer is allowed.
    let status =
        unsafe { (boot.allocate_pages)(AllocateType::ANY_PAGES, RawType::LOADER_DATA, 1, null_mut()) };
    assert_eq!(status, Status::INVALID_PARAMETER);
    // SAFETY: the pointer is valid.
    let status = unsafe { (boot.allocate_pages)(AllocateType(3), RawType::LOADER_DATA, 1, &raw mut address) };
    assert_eq!(status, Status::INVALID_PARAMETER);
}

#[test]
fn pool_and_memory_functions_work_on_buffers() {
    let machine = Machine::new();
    let boot = machine.boot();
    let mut buffers = [null_mut::<u8>(); 900];
    for (size, buffer) in (0..).zip(&mut buffers) {
        // SAFETY: the pointer is valid.
        assert_eq!(
            unsafe { (boot.allocate_pool)(RawType::LOADER_DATA, size, buffer) },
            Status::SUCCESS
        );
        // SAFETY: the buffer has this size.
        unsafe { (boot.set_mem)(*buffer, size, 7) };
    }
    let mut crc = 0;
    // SAFETY: the buffer has this size.
    let status = unsafe { (boot.calculate_crc32)(buffers[899].cast(), 899, &raw mut crc) };
    assert_eq!((status, crc), (Status::SUCCESS, crc32(&[7; 899])));
    // SAFETY: both buffers have this size.
    unsafe { (boot.copy_mem)(buffers[800], buffers[700], 700) };
    for buffer in buffers {
        // SAFETY: the buffer was allocated.
        assert_eq!(unsafe { (boot.free_pool)(buffer) }, Status::SUCCESS);
    }
    // SAFETY: wrong addresses are refused.
    assert_eq!(unsafe { (boot.free_pool)(buffers[0]) }, Status::INVALID_PARAMETER);
    let mut count = 0;
    // SAFETY: the pointer is valid.
    assert_eq!(
        unsafe { (boot.get_next_monotonic_count)(&raw mut count) },
        Status::SUCCESS
    );
    assert_eq!(count, 1);
    // SAFETY: no pointers.
    assert_eq!(unsafe { (boot.stall)(10) }, Status::SUCCESS);
    // SAFETY: no pointers.
    assert_eq!(
        unsafe { (boot.set_watchdog_timer)(0, 0, 0, null()) },
        Status::UNSUPPORTED
    );
}

/// Counts its calls, and calls a service: the state is not lent meanwhile.
unsafe extern "efiapi" fn count(event: Event, context: *mut c_void) {
    // SAFETY: the context is the table and the counter of the test.
    let (boot, calls) =
        unsafe { &*context.cast::<(*const efi_abi::raw::table::boot::BootServices, AtomicUsize)>() };
    // SAFETY: the table is valid. The event has a notification, so a check is refused.
    let status = unsafe { ((**boot).check_event)(event) };
    if status == Status::INVALID_PARAMETER {
        calls.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn notifications_wait_for_their_level() {
    let machine = Machine::new();
    let boot = machine.boot();
    let context: (*const _, AtomicUsize) = (std::ptr::from_ref(boot), AtomicUsize::new(0));
    let context_address = std::ptr::from_ref(&context).cast_mut().cast::<c_void>();
    let calls = || context.1.load(Ordering::Relaxed);
    let mut event = null_mut();
    // SAFETY: the function and its context live longer than the event.
    let status = unsafe {
        (boot.create_event)(
            EventType::NOTIFY_SIGNAL,
            Tpl::CALLBACK,
            Some(count),
            context_address,
            &raw mut event,
        )
    };
    assert_eq!(status, Status::SUCCESS);
    // SAFETY: the event is valid.
    assert_eq!(unsafe { (boot.signal_event)(event) }, Status::SUCCESS);
    assert_eq!(calls(), 1);
    // SAFETY: no pointers.
    let old = unsafe { (boot.raise_tpl)(Tpl::NOTIFY) };
    assert_eq!(old, Tpl::APPLICATION);
    // SAFETY: the event is valid.
    assert_eq!(unsafe { (boot.signal_event)(event) }, Status::SUCCESS);
    assert_eq!(calls(), 1);
    // SAFETY: the level is the old one.
    unsafe { (boot.restore_tpl)(old) };
    assert_eq!(calls(), 2);
    // SAFETY: the event is valid.
    assert_eq!(unsafe { (boot.close_event)(event) }, Status::SUCCESS);
    // SAFETY: wrong events are refused.
    assert_eq!(unsafe { (boot.signal_event)(event) }, Status::INVALID_PARAMETER);
}

#[test]
fn waits_end_with_timers_and_keys() {
    let machine = Machine::new();
    let boot = machine.boot();
    let mut timer = null_mut();
    // SAFETY: the pointer is valid.
    let status = unsafe { (boot.create_event)(EventType::TIMER, Tpl(0), None, null_mut(), &raw mut timer) };
    assert_eq!(status, Status::SUCCESS);
    // SAFETY: the event is valid.
    let set = |delay, time| unsafe { (boot.set_timer)(timer, delay, time) };
    assert_eq!(set(TimerDelay(9), 1), Status::INVALID_PARAMETER);
    assert_eq!(set(TimerDelay::RELATIVE, 100_000), Status::SUCCESS);
    // SAFETY: the event is valid.
    assert_eq!(unsafe { (boot.check_event)(timer) }, Status::NOT_READY);
    // SAFETY: the system table has the interface.
    let key = unsafe { (*machine.system().stdin).wait_for_key };
    let events = [key, timer];
    let mut index = 9;
    // SAFETY: the pointers are valid.
    let mut wait = || {
        (
            unsafe { (boot.wait_for_event)(2, events.as_ptr(), &raw mut index) },
            index,
        )
    };
    assert_eq!(wait(), (Status::SUCCESS, 1));
    machine.log().input.extend(b"x");
    assert_eq!(wait(), (Status::SUCCESS, 0));
    // SAFETY: no pointers.
    unsafe { (boot.raise_tpl)(Tpl::CALLBACK) };
    assert_eq!(wait().0, Status::UNSUPPORTED);
}
