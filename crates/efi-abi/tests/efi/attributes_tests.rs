//! `EFI_MEMORY_ATTRIBUTES_TABLE`.
#![expect(unsafe_code, reason = "services are called by their pointers")]

use efi_abi::guids::MEMORY_ATTRIBUTES_TABLE;
use efi_abi::raw::Status as RawStatus;
use efi_abi::raw::table::boot::{AllocateType, MemoryDescriptor, MemoryType as RawType};
use efi_abi::{ImageSource, Status};
use efi_core::memory::{Attributes, MemoryType};

use crate::images::{application, image};
use crate::machine::Machine;

const RO: Attributes = Attributes::RO;
const XP: Attributes = Attributes::XP;

/// The entries of the table: type, start, pages, attributes without RUNTIME.
fn entries(machine: &Machine) -> Vec<(u32, u64, u64, Attributes)> {
    let system = machine.system();
    let table = (0..system.number_of_configuration_table_entries)
        // SAFETY: the system table has this many tables.
        .map(|index| unsafe { system.configuration_table.add(index).read() })
        .find(|table| table.vendor_guid == MEMORY_ATTRIBUTES_TABLE)
        .expect("the table is installed")
        .vendor_table;
    // SAFETY: the table begins with four numbers.
    let [version, count, size, flags] = unsafe { table.cast::<[u32; 4]>().read() };
    assert_eq!((version, size, flags), (2, 40, 0));
    (0..count as usize)
        .map(|index| {
            let entry = table.wrapping_byte_add(16 + index * 40);
            // SAFETY: the table has this many entries.
            let entry = unsafe { entry.cast::<MemoryDescriptor>().read() };
            let attributes = Attributes::from_bits_retain(entry.att.bits());
            assert!(attributes.contains(Attributes::RUNTIME) && entry.virt_start == 0);
            (
                entry.ty.0,
                entry.phys_start,
                entry.page_count,
                attributes - Attributes::RUNTIME,
            )
        })
        .collect()
}

/// `GetMemoryMap`, whose result is not used.
fn read_map(machine: &Machine) {
    let mut buffer = vec![0_u64; 6 * 128];
    let (mut size, mut key, mut distance, mut version) = (buffer.len() * 8, 0, 0, 0);
    // SAFETY: the pointers are valid, and the buffer has the size.
    let status = unsafe {
        (machine.boot().get_memory_map)(
            &raw mut size,
            buffer.as_mut_ptr().cast(),
            &raw mut key,
            &raw mut distance,
            &raw mut version,
        )
    };
    assert_eq!(status, RawStatus::SUCCESS);
}

#[test]
fn sections_of_the_firmware_are_entries() {
    let machine = Machine::new();
    let before = entries(&machine);
    assert_eq!(before.len(), 1, "{before:x?}");
    assert_eq!((before[0].0, before[0].3), (6, XP));

    let start = machine.ram_start();
    let reserve = |map: &mut efi_core::memory::MemoryMap| {
        map.reserve(start, 4, MemoryType::RUNTIME_SERVICES_CODE)?;
        map.reserve(start + 0x4000, 1, MemoryType::RUNTIME_SERVICES_DATA)
    };
    machine.firmware.memory_map(reserve).unwrap();
    let add = |page: u64, pages: u64, rights| {
        machine
            .firmware
            .add_runtime_section(start + page * 4096, pages * 4096, rights)
    };
    assert_eq!(add(0, 2, RO), Ok(()));
    // Two pages of code have no rights yet, so all of the region is left out.
    let data = (6, start + 0x4000, 1, XP);
    assert_eq!(entries(&machine), [data, before[0]]);
    assert_eq!(add(2, 1, RO | XP), Ok(()));
    assert_eq!(add(3, 1, XP), Ok(()));
    let code = [
        (5, start, 2, RO),
        (5, start + 0x2000, 1, RO | XP),
        (5, start + 0x3000, 1, XP),
    ];
    assert_eq!(entries(&machine), [&code[..], &[data, before[0]]].concat());

    let refused = Err(Status::INVALID_PARAMETER);
    assert_eq!(add(0, 1, Attributes::RP), refused);
    assert_eq!(add(0, 1, Attributes::empty()), refused);
    assert_eq!(add(4, 2, XP), refused, "a page of conventional memory");
    assert_eq!(add(0, 0, XP), refused);
    let odd = machine.firmware.add_runtime_section(start + 1, 4096, XP);
    assert_eq!(odd, refused);
    let odd = machine.firmware.add_runtime_section(start, 100, XP);
    assert_eq!(odd, refused);
}

unsafe extern "efiapi" fn stay(
    _: efi_abi::raw::Handle,
    _: *mut efi_abi::raw::table::system::SystemTable,
) -> RawStatus {
    RawStatus::SUCCESS
}

#[test]
fn late_allocations_and_runtime_drivers_are_entries() {
    let machine = Machine::new();
    let boot = machine.boot();
    let mut start = 0;
    // SAFETY: the pointer is valid.
    let status = unsafe {
        (boot.allocate_pages)(
            AllocateType::ANY_PAGES,
            RawType::RUNTIME_SERVICES_DATA,
            3,
            &raw mut start,
        )
    };
    assert_eq!(status, RawStatus::SUCCESS);
    read_map(&machine);
    let pages: u64 = entries(&machine)
        .iter()
        .filter(|entry| entry.1 <= start && start + 0x3000 <= entry.1 + entry.2 * 4096)
        .map(|entry| entry.2)
        .sum();
    assert!(pages >= 3);

    let before = entries(&machine);
    // A driver that is not made for protections has none: its region is left out.
    let mut old = image(stay, 12);
    old[0xde..0xe0].fill(0);
    let load = |file: &[u8]| {
        machine
            .firmware
            .load_image(ImageSource::Bytes(file, None))
            .unwrap()
    };
    let driver = load(&old);
    read_map(&machine);
    assert_eq!(entries(&machine), before);
    machine.firmware.unload_image(driver).unwrap();
    // Headers read-only, the section executable and read-only.
    load(&image(stay, 12));
    read_map(&machine);
    let code: Vec<_> = entries(&machine)
        .into_iter()
        .filter(|entry| entry.0 == 5)
        .map(|entry| (entry.2, entry.3))
        .collect();
    assert_eq!(code, [(1, RO | XP), (1, RO)]);
    // An application is no runtime memory.
    let before = entries(&machine);
    load(&application(stay));
    read_map(&machine);
    assert_eq!(entries(&machine), before);
}
