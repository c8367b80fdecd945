//! Boots from generated disks, of programs that are functions of this test.
#![expect(
    unsafe_code,
    reason = "memory of the machine is mapped, and services are called"
)]

use std::ffi::c_void;
use std::io::{Cursor, Write as _};
use std::sync::{Mutex, PoisonError};

use boot_core::{GuestRange, MemoryMap, RegionKind};
use disk::{BlockSize, SourceBlocks};
use efi_abi::raw::table::runtime::{ResetType, VariableAttributes};
use efi_abi::raw::table::system::SystemTable;
use efi_abi::raw::{Handle, Status as RawStatus};
use efi_abi::{Platform, RuntimeHooks, guids};
use efi_core::device_path::DevicePathBuf;
use efi_core::memory::MapConfig;
use efi_core::variables::{LoadOption, LoadOptionAttributes};
use fw_efi::{BootError, DEFAULT_ARM64, DEFAULT_RISCV64, DEFAULT_X86_64, Disk, Setup, boot, map_of, path};

type Entry = unsafe extern "efiapi" fn(Handle, *mut SystemTable) -> RawStatus;

/// The machine type of PE images, code that jumps to the address at offset 16, and the default program, of the host.
const HOST: (u16, &[u8], &str) = if cfg!(target_arch = "x86_64") {
    (0x8664, &[0xff, 0x25, 10, 0, 0, 0], DEFAULT_X86_64)
} else if cfg!(target_arch = "aarch64") {
    (0xaa64, &[0x90, 0, 0, 0x58, 0, 2, 0x1f, 0xd6], DEFAULT_ARM64)
} else {
    let code = &[0x97, 2, 0, 0, 0x83, 0xb2, 2, 1, 0x67, 0x80, 2, 0];
    (0x5064, code, DEFAULT_RISCV64)
};

const RAM: usize = 16 << 20;

struct Silent;

impl Platform for Silent {
    fn write_console(&mut self, _: &[u8]) {}

    fn read_console(&mut self) -> Option<u8> {
        None
    }

    fn monotonic(&mut self) -> u64 {
        0
    }
}

unsafe extern "efiapi" fn get_time(_: *mut c_void, _: *mut u64) -> RawStatus {
    RawStatus::UNSUPPORTED
}

unsafe extern "efiapi" fn set_time(_: *mut c_void, _: u64) -> RawStatus {
    RawStatus::UNSUPPORTED
}

unsafe extern "efiapi" fn reset(_: *mut c_void, _: ResetType, _: RawStatus) -> ! {
    std::process::abort()
}

/// A program whose code is a function.
fn program(entry: Entry) -> Vec<u8> {
    let (machine, code, _) = HOST;
    let mut file = vec![0; 0x400];
    let mut put = |offset: usize, bytes: &[u8]| file[offset..offset + bytes.len()].copy_from_slice(bytes);
    put(0, b"MZ");
    put(0x3c, &[0x80]);
    put(0x80, b"PE\0\0");
    // Machine, sections, length of the optional header, characteristics, PE32+, subsystem, NX_COMPAT.
    for (offset, value) in [
        (0x84, machine),
        (0x86, 1),
        (0x94, 240),
        (0x96, 0x22),
        (0x98, 0x20b),
        (0xdc, 10),
        (0xde, 0x100),
    ] {
        put(offset, &value.to_le_bytes());
    }
    // Entry point, alignments, sizes, number of directories; the section: sizes, places, characteristics.
    for (offset, value) in [
        (0xa8, 0x1000_u32),
        (0xb8, 0x1000),
        (0xbc, 0x200),
        (0xd0, 0x2000),
        (0xd4, 0x200),
        (0x104, 16),
        (0x190, 0x18),
        (0x194, 0x1000),
        (0x198, 0x200),
        (0x19c, 0x200),
        (0x1ac, 0x6000_0020),
    ] {
        put(offset, &value.to_le_bytes());
    }
    put(0x188, b".text");
    put(0x200, code);
    let address = (entry as *const ()).expose_provenance() as u64;
    put(0x210, &address.to_le_bytes());
    file
}

/// A disk without partitions, with a FAT file system.
fn disk(number: u64, files: &[(&str, Vec<u8>)]) -> Disk {
    let mut image = Cursor::new(vec![0; 2 << 20]);
    fatfs::format_volume(&mut image, fatfs::FormatVolumeOptions::new()).unwrap();
    {
        let volume = fatfs::FileSystem::new(&mut image, fatfs::FsOptions::new()).unwrap();
        for (path, bytes) in files {
            let mut directory = volume.root_dir();
            let path = path.trim_start_matches('\\');
            let (parents, name) = path.rsplit_once('\\').unwrap_or(("", path));
            for parent in parents.split('\\').filter(|parent| !parent.is_empty()) {
                directory = directory.create_dir(parent).unwrap();
            }
            directory.create_file(name).unwrap().write_all(bytes).unwrap();
        }
    }
    let device = SourceBlocks::new(image.into_inner(), BlockSize::B512).unwrap();
    Disk {
        device: Box::leak(Box::new(device)),
        path: path::mmio(GuestRange::new(0x1000 * number, 0x200).unwrap()).unwrap(),
    }
}

/// A program has one firmware at a time.
static LOCK: Mutex<()> = Mutex::new(());

/// Boots the disks, and returns what was reported.
fn boot_disks(disks: Vec<Disk>) -> (BootError, Vec<String>) {
    let _lock = LOCK.lock().unwrap_or_else(PoisonError::into_inner);
    let protection = libc::PROT_READ | libc::PROT_WRITE | libc::PROT_EXEC;
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    // SAFETY: a new mapping at an address of the kernel's choice.
    let start = unsafe { libc::mmap(std::ptr::null_mut(), RAM, protection, flags, -1, 0) };
    assert_ne!(start, libc::MAP_FAILED);
    let ram = GuestRange::new(start.expose_provenance() as u64, RAM as u64).unwrap();
    let mut machine = MemoryMap::new();
    machine.insert(ram, RegionKind::Ram).unwrap();
    let setup = Setup {
        default: HOST.2,
        platform: Box::new(Silent),
        hooks: RuntimeHooks {
            context: std::ptr::null_mut(),
            get_time,
            set_time,
            reset,
        },
        map: map_of(&machine, &[], MapConfig::default()).unwrap(),
        console: DevicePathBuf::new(),
        tables: vec![(guids::ACPI_20_TABLE, 0xf_0000)],
        disks,
    };
    let mut log = Vec::new();
    // SAFETY: the memory is free and stays, and the lock makes this the only firmware.
    let error = unsafe { boot(setup, &mut |event| log.push(event.to_string())) };
    (error, log)
}

unsafe extern "efiapi" fn not_found(_: Handle, _: *mut SystemTable) -> RawStatus {
    RawStatus::NOT_FOUND
}

unsafe extern "efiapi" fn success(_: Handle, _: *mut SystemTable) -> RawStatus {
    RawStatus::SUCCESS
}

/// True if the configuration table of the setup is there.
unsafe extern "efiapi" fn find_table(_: Handle, table: *mut SystemTable) -> RawStatus {
    // SAFETY: the firmware passes its system table.
    let table = unsafe { &*table };
    let count = table.number_of_configuration_table_entries;
    // SAFETY: the table has this many entries.
    let tables = unsafe { std::slice::from_raw_parts(table.configuration_table, count) };
    let acpi = tables
        .iter()
        .find(|entry| entry.vendor_guid == guids::ACPI_20_TABLE);
    match acpi {
        Some(entry) if entry.vendor_table.addr() == 0xf_0000 => RawStatus::SUCCESS,
        _ => RawStatus::NOT_FOUND,
    }
}

fn set(table: *mut SystemTable, name: &str, data: &[u8]) {
    let name: Vec<u16> = name.encode_utf16().chain([0]).collect();
    // SAFETY: the firmware passes its system table.
    let runtime = unsafe { &*(*table).runtime_services };
    let attributes = VariableAttributes::from_bits_retain(7);
    let vendor = guids::GLOBAL_VARIABLE;
    // SAFETY: name and data are valid.
    let status = unsafe {
        (runtime.set_variable)(
            name.as_ptr(),
            &raw const vendor,
            attributes,
            data.len(),
            data.as_ptr(),
        )
    };
    assert_eq!(status, RawStatus::SUCCESS);
}

fn option(path: &DevicePathBuf, attributes: LoadOptionAttributes) -> Vec<u8> {
    LoadOption {
        attributes,
        description: "other".to_owned(),
        path: path.as_path(),
        optional_data: b"x\0\0\0",
    }
    .to_bytes()
}

/// Adds boot options, as shim's fallback does: a file, an inactive one, one that does not exist, bytes that are no option.
unsafe extern "efiapi" fn add_options(_: Handle, table: *mut SystemTable) -> RawStatus {
    let mut file = DevicePathBuf::new();
    file.push_file_path("\\OTHER.EFI").unwrap();
    let active = LoadOptionAttributes::ACTIVE;
    set(table, "Boot0001", &option(&file, active));
    set(table, "Boot0002", &option(&file, LoadOptionAttributes::empty()));
    set(table, "Boot0003", b"x");
    let mut other = DevicePathBuf::new();
    other.push_file_path("\\MISSING.EFI").unwrap();
    set(table, "Boot0004", &option(&other, active));
    let order = [4_u16, 9, 3, 2, 1].map(u16::to_le_bytes);
    set(table, "BootOrder", order.as_flattened());
    set(table, "BootNext", &2_u16.to_le_bytes());
    RawStatus::ABORTED
}

#[test]
fn what_returns_is_followed_by_the_next_volume() {
    let disks = vec![
        disk(1, &[(HOST.2, program(not_found))]),
        disk(2, &[("\\OTHER.EFI", program(success))]),
        disk(3, &[(HOST.2, b"no program".to_vec())]),
        disk(4, &[(HOST.2, program(find_table))]),
    ];
    let (error, log) = boot_disks(disks);
    assert_eq!(error, BootError::Nothing);
    let name = |number: u32| format!("MemoryMapped(0xb,{number:#x}000,{number:#x}1ff)/{}", HOST.2);
    assert_eq!(
        log,
        [
            format!("starting {}", name(1)),
            format!("{} has ended: NOT_FOUND", name(1)),
            format!("starting {}", name(3)),
            format!("{} cannot be started: UNSUPPORTED", name(3)),
            format!("starting {}", name(4)),
            format!("{} has ended: SUCCESS", name(4)),
        ]
    );
}

#[test]
fn boot_options_that_a_program_adds_are_tried() {
    let disks = vec![
        disk(
            1,
            &[
                (HOST.2, program(add_options)),
                ("\\OTHER.EFI", program(not_found)),
            ],
        ),
        disk(
            2,
            &[(HOST.2, program(success)), ("\\OTHER.EFI", program(success))],
        ),
    ];
    let (error, log) = boot_disks(disks);
    assert_eq!(error, BootError::Nothing);
    let on = |number: u32, file: &str| format!("MemoryMapped(0xb,{number:#x}000,{number:#x}1ff)/{file}");
    let other = "\\OTHER.EFI";
    let mut expected = vec![
        format!("starting {}", on(1, HOST.2)),
        format!("{} has ended: ABORTED", on(1, HOST.2)),
    ];
    // BootNext first, although it is not active; BootOrder then.
    for (number, before) in [
        (2, None),
        (1, Some("Boot0004 leads to no volume of this machine")),
    ] {
        expected.extend(before.map(str::to_owned));
        if number == 1 {
            expected.push("Boot0003: the load option ends before its attributes".to_owned());
        }
        expected.extend([
            format!("starting Boot000{number} \"other\" {}", on(1, other)),
            format!("{} has ended: NOT_FOUND", on(1, other)),
            format!("starting Boot000{number} \"other\" {}", on(2, other)),
            format!("{} has ended: SUCCESS", on(2, other)),
        ]);
    }
    expected.extend([
        format!("starting {}", on(2, HOST.2)),
        format!("{} has ended: SUCCESS", on(2, HOST.2)),
    ]);
    assert_eq!(log, expected);
}

#[test]
fn machines_without_a_program_are_reported() {
    let (error, log) = boot_disks(vec![disk(1, &[("\\README", b"text".to_vec())])]);
    assert_eq!(error.to_string(), "no EFI program has booted an operating system");
    assert_eq!(log, [format!("no volume has {}", HOST.2)]);
}
