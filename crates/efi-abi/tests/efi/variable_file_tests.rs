//! Variables that are kept in a file.
#![expect(unsafe_code, reason = "services are called by their pointers")]

use std::cell::{Cell, RefCell};

use disk::block::check_request;
use disk::{BlockDevice, BlockError, BlockErrorKind, BlockSize, Extents, FileBlocks, SourceRange};
use efi_abi::raw::Status as RawStatus;
use efi_abi::raw::table::runtime::VariableAttributes;
use efi_abi::{Guid, VariableFileError};
use efi_core::guid;
use efi_core::variables::{FileError, OsIndications, SlotError, SlotFileError, name};

use crate::machine::{Machine, text};

const VENDOR: Guid = guid!("605dab50-e046-4300-abb6-3dd810dd8b23");
const NV: VariableAttributes = VariableAttributes::from_bits_retain(7);
const VOLATILE: VariableAttributes = VariableAttributes::from_bits_retain(6);

/// A disk in memory that can fail.
struct MemoryDisk {
    bytes: RefCell<Vec<u8>>,
    is_read_only: Cell<bool>,
    fails: Cell<bool>,
    writes: Cell<u32>,
}

impl MemoryDisk {
    fn new(bytes: Vec<u8>) -> &'static Self {
        Box::leak(Box::new(Self {
            bytes: RefCell::new(bytes),
            is_read_only: Cell::new(false),
            fails: Cell::new(false),
            writes: Cell::new(0),
        }))
    }
}

impl BlockDevice for MemoryDisk {
    fn block_size(&self) -> BlockSize {
        BlockSize::B512
    }

    fn block_count(&self) -> u64 {
        self.bytes.borrow().len() as u64 / 512
    }

    fn read_blocks(&self, first: u64, buf: &mut [u8]) -> Result<(), BlockError> {
        check_request(self, first, buf.len())?;
        let start = usize::try_from(first).unwrap() * 512;
        buf.copy_from_slice(&self.bytes.borrow()[start..start + buf.len()]);
        Ok(())
    }

    fn is_read_only(&self) -> bool {
        self.is_read_only.get()
    }

    fn write_blocks(&self, first: u64, data: &[u8]) -> Result<(), BlockError> {
        let count = check_request(self, first, data.len())?;
        if self.fails.get() {
            let kind = BlockErrorKind::Device("broken".into());
            return Err(BlockError::new(first, count, kind));
        }
        self.writes.set(self.writes.get() + 1);
        let start = usize::try_from(first).unwrap() * 512;
        self.bytes.borrow_mut()[start..start + data.len()].copy_from_slice(data);
        Ok(())
    }
}

/// A file of 32 KiB in two pieces of a disk.
fn file(disk: &'static MemoryDisk) -> &'static dyn BlockDevice {
    let mut extents = Extents::new();
    for (offset, len) in [(0x8000, 0x3000), (0x1000, 0x5000)] {
        extents.push(SourceRange::new(offset, len).unwrap()).unwrap();
    }
    Box::leak(Box::new(FileBlocks::new(disk, &extents).unwrap()))
}

fn set(machine: &Machine, name: &str, attributes: VariableAttributes, data: &[u8]) -> RawStatus {
    let name = text(name);
    let runtime = machine.runtime();
    // SAFETY: the pointers are valid.
    unsafe { (runtime.set_variable)(name.as_ptr(), &VENDOR, attributes, data.len(), data.as_ptr()) }
}

fn get(machine: &Machine, variable: &str) -> Option<Vec<u8>> {
    machine
        .firmware
        .variables(|variables| {
            variables
                .get(&name(variable), VENDOR)
                .map(|entry| entry.data.to_vec())
        })
        .ok()
}

/// Storage and free space for these attributes.
fn query(machine: &Machine, attributes: VariableAttributes) -> [u64; 2] {
    let [mut total, mut free, mut largest] = [0; 3];
    // SAFETY: the pointers are valid.
    let status = unsafe {
        (machine.runtime().query_variable_info)(attributes, &raw mut total, &raw mut free, &raw mut largest)
    };
    assert_eq!(status, RawStatus::SUCCESS);
    [total, free]
}

fn start(disk: &'static MemoryDisk) -> Machine {
    let machine = Machine::new();
    let used = machine
        .firmware
        .use_variable_file(file(disk), OsIndications::empty());
    used.unwrap_or_else(|error| panic!("{error}"));
    machine
}

#[test]
fn variables_survive_the_firmware() {
    let disk = MemoryDisk::new(vec![0; 0x10000]);
    let machine = start(disk);
    assert_eq!(disk.writes.get(), 0, "nothing has changed");
    assert_eq!(set(&machine, "volatile", VOLATILE, b"1"), RawStatus::SUCCESS);
    assert_eq!(disk.writes.get(), 0);
    assert_eq!(set(&machine, "kept", NV, b"1"), RawStatus::SUCCESS);
    assert_eq!(set(&machine, "deleted", NV, b"2"), RawStatus::SUCCESS);
    assert_eq!(set(&machine, "deleted", NV, b""), RawStatus::SUCCESS);
    let append = NV | VariableAttributes::APPEND_WRITE;
    assert_eq!(set(&machine, "kept", append, b"23"), RawStatus::SUCCESS);
    let writes = disk.writes.get();
    assert_eq!(set(&machine, "kept", NV, b"123"), RawStatus::SUCCESS);
    assert_eq!(disk.writes.get(), writes, "the same data is not written again");
    let by_platform = machine
        .firmware
        .variables(|variables| variables.set(&name("platform"), VENDOR, 7, b"4"));
    assert_eq!(by_platform, Ok(()));
    drop(machine);

    let machine = start(disk);
    let found = ["kept", "platform", "deleted", "volatile"].map(|name| get(&machine, name));
    assert_eq!(found, [Some(b"123".to_vec()), Some(b"4".to_vec()), None, None]);
    // Those of the firmware are there as well.
    let language = machine.firmware.variables(|variables| {
        Ok((
            variables.global("PlatformLang").to_vec(),
            variables.global("SetupMode")[0],
        ))
    });
    assert_eq!(language, Ok((b"en\0".to_vec(), 1)));
    // Sectors outside of the file were not written.
    let bytes = disk.bytes.borrow();
    assert!(bytes[..0x1000].iter().all(|byte| *byte == 0));
    assert!(bytes[0x6000..0x8000].iter().all(|byte| *byte == 0));
    assert!(bytes[0xb000..].iter().all(|byte| *byte == 0));
}

#[test]
fn variables_that_cannot_be_saved_are_as_before() {
    let disk = MemoryDisk::new(vec![0; 0x10000]);
    let machine = start(disk);
    assert_eq!(set(&machine, "A", NV, b"1"), RawStatus::SUCCESS);
    disk.fails.set(true);
    assert_eq!(set(&machine, "A", NV, b"2"), RawStatus::DEVICE_ERROR);
    assert_eq!(set(&machine, "A", NV, b""), RawStatus::DEVICE_ERROR);
    assert_eq!(set(&machine, "B", NV, b"2"), RawStatus::DEVICE_ERROR);
    assert_eq!(set(&machine, "volatile", VOLATILE, b"1"), RawStatus::SUCCESS);
    assert_eq!(
        (get(&machine, "A"), get(&machine, "B")),
        (Some(b"1".to_vec()), None)
    );
    let by_platform = machine
        .firmware
        .variables(|variables| variables.set(&name("C"), VENDOR, 7, b"4"));
    assert_eq!(by_platform, Ok(()));
    let output = machine.output();
    assert!(
        output.starts_with("variables are not saved: the file of variables: "),
        "{output}"
    );
    disk.fails.set(false);
    assert_eq!(set(&machine, "B", NV, b"2"), RawStatus::SUCCESS);

    // The slots have 12 KiB for variables, volatile ones the store.
    let [total, free] = query(&machine, NV);
    assert_eq!(total, 0x3000 - 20);
    assert!(free < total && free > 0x2e00, "{free}");
    assert_eq!(query(&machine, VOLATILE)[0], 256 * 1024);
    let long = vec![1; 0x3000];
    assert_eq!(set(&machine, "long", NV, &long), RawStatus::OUT_OF_RESOURCES);
    assert_eq!(set(&machine, "long", VOLATILE, &long), RawStatus::SUCCESS);
    drop(machine);
    let machine = start(disk);
    let found = ["A", "B", "C", "long"].map(|name| get(&machine, name));
    let value = |text: &[u8]| Some(text.to_vec());
    assert_eq!(found, [value(b"1"), value(b"2"), value(b"4"), None]);
}

#[test]
fn read_only_disks_have_volatile_variables() {
    let disk = MemoryDisk::new(vec![0; 0x10000]);
    assert_eq!(set(&start(disk), "A", NV, b"1"), RawStatus::SUCCESS);
    disk.is_read_only.set(true);
    let writes = disk.writes.get();
    let machine = start(disk);
    assert_eq!(get(&machine, "A"), Some(b"1".to_vec()));
    assert_eq!(set(&machine, "A", NV, b"2"), RawStatus::SUCCESS);
    assert_eq!(get(&machine, "A"), Some(b"2".to_vec()));
    assert_eq!(disk.writes.get(), writes);
}

#[test]
fn hostile_files_are_not_used() {
    let check = |bytes: Vec<u8>, message: &str| {
        let disk = MemoryDisk::new(bytes);
        let machine = Machine::new();
        let refused = machine
            .firmware
            .use_variable_file(file(disk), OsIndications::empty());
        let error = refused.expect_err("the file is refused");
        assert_eq!(error.to_string(), message);
        // The firmware goes on without it.
        assert_eq!(set(&machine, "A", NV, b"1"), RawStatus::SUCCESS);
        assert_eq!(disk.writes.get(), 0);
        error
    };
    check(
        vec![0xff; 0x10000],
        "slot 0 of the file of variables: neither blank nor a slot of variables, which begins with VMBTSLOT",
    );
    // A file that has a variable of the firmware: Secure Boot would look enabled.
    let disk = MemoryDisk::new(vec![0; 0x10000]);
    assert_eq!(set(&start(disk), "SecureBooA", NV, b"\x01"), RawStatus::SUCCESS);
    let mut bytes = disk.bytes.take();
    let record = 0x9000 + 20;
    let content = bytes[record..record + 200].to_vec();
    let units: Vec<u8> = "SecureBooA".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let at = content.windows(20).position(|part| part == units).unwrap();
    bytes[record + at + 18] = b't';
    let vendor = efi_abi::guids::GLOBAL_VARIABLE.to_bytes();
    bytes[record + at - 24..record + at - 8].copy_from_slice(&vendor);
    let len = u32::from_le_bytes(bytes[0x900c..0x9010].try_into().unwrap());
    let crc = efi_core::crc::crc32(&bytes[record..record + len as usize]);
    bytes[0x9010..0x9014].copy_from_slice(&crc.to_le_bytes());
    let error = check(
        bytes,
        "slot 0 of the file of variables: the variables are refused",
    );
    let VariableFileError::File(SlotFileError::Slot { error, .. }) = error else {
        panic!("{error:?}");
    };
    assert!(
        matches!(error, SlotError::Content(FileError::Duplicate { .. })),
        "{error:?}"
    );
}
