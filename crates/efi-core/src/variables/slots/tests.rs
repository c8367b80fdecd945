use std::format;
use std::string::ToString;

use super::*;
use crate::Status;
use crate::guids::GLOBAL_VARIABLE;
use crate::variables::name;

const SECTOR: usize = 512;
const NV: u32 = 7;

type Store = Variables<8192>;

/// A disk that loses power after a number of sectors.
#[derive(Clone, Debug)]
struct Disk {
    bytes: Vec<u8>,
    /// Sectors that can still be written.
    power: usize,
    /// Sectors of one request are written from the last one to the first.
    backwards: bool,
    /// Writes and flushes, in order: offset and length, or `None`.
    requests: Vec<Option<(u64, usize)>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct NoPower;

impl Disk {
    fn new(len: usize) -> Self {
        Self {
            bytes: vec![0; len],
            power: usize::MAX,
            backwards: false,
            requests: Vec::new(),
        }
    }
}

impl Storage for Disk {
    type Error = NoPower;

    fn len(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn read(&mut self, offset: u64, buffer: &mut [u8]) -> Result<(), NoPower> {
        assert!(offset % 4096 == 0 && buffer.len() % 4096 == 0);
        let start = usize::try_from(offset).unwrap();
        buffer.copy_from_slice(&self.bytes[start..start + buffer.len()]);
        Ok(())
    }

    fn write(&mut self, offset: u64, data: &[u8]) -> Result<(), NoPower> {
        assert!(offset % 4096 == 0 && data.len() % 4096 == 0);
        self.requests.push(Some((offset, data.len())));
        let start = usize::try_from(offset).unwrap();
        let mut sectors: Vec<_> = data.chunks(SECTOR).enumerate().collect();
        if self.backwards {
            sectors.reverse();
        }
        for (index, sector) in sectors {
            self.power = self.power.checked_sub(1).ok_or(NoPower)?;
            self.bytes[start + index * SECTOR..][..SECTOR].copy_from_slice(sector);
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), NoPower> {
        self.requests.push(None);
        if self.power == 0 { Err(NoPower) } else { Ok(()) }
    }
}

fn set(store: &mut Store, text: &str, data: &[u8]) {
    store.set(&name(text), GLOBAL_VARIABLE, NV, data).unwrap();
}

fn open(disk: &Disk) -> (Result<SlotFile<Disk>, SlotFileError<NoPower>>, Store) {
    let mut store = Store::new();
    let file = SlotFile::open(disk.clone(), &mut store);
    (file, store)
}

/// A disk after one, two, three … saved versions of a variable.
fn saved(len: usize, versions: &[&[u8]]) -> Disk {
    let mut store = Store::new();
    let mut file = SlotFile::open(Disk::new(len), &mut store).unwrap();
    for version in versions {
        set(&mut store, "A", version);
        assert_eq!(file.save(&store), Ok(true));
    }
    file.storage
}

#[test]
fn blank_files_become_files_of_variables() {
    let (file, mut store) = open(&Disk::new(64 * 1024));
    let mut file = file.unwrap();
    assert_eq!(file.capacity(), 28 * 1024);
    assert_eq!(file.save(&store), Ok(false), "nothing has changed");
    store.set(&name("volatile"), GLOBAL_VARIABLE, 6, b"x").unwrap();
    assert_eq!(file.save(&store), Ok(false));
    set(&mut store, "A", b"1");
    assert_eq!(file.save(&store), Ok(true));
    assert_eq!(file.save(&store), Ok(false));
    // The content is on stable storage before the header, and the header before the call returns.
    let first = [Some((4096, 4096)), None, Some((0, 4096)), None];
    assert_eq!(file.storage.requests, first);
    set(&mut store, "A", b"2");
    assert_eq!(file.save(&store), Ok(true));
    let second = [
        Some((32 * 1024 + 4096, 4096)),
        None,
        Some((32 * 1024, 4096)),
        None,
    ];
    assert_eq!(file.storage.requests[4..], second);
    let (again, store) = open(&file.storage);
    let mut again = again.unwrap();
    assert_eq!(store.global("A"), b"2");
    assert_eq!(store.entries().count(), 1);
    assert_eq!(again.save(&store), Ok(false));
}

#[test]
fn other_non_volatile_variables_are_replaced() {
    let disk = saved(16 * 1024, &[b"1"]);
    let mut store = Store::new();
    set(&mut store, "default", b"x");
    store
        .set_by_firmware(&name("SecureBoot"), GLOBAL_VARIABLE, 6, &[0])
        .unwrap();
    SlotFile::open(disk, &mut store).unwrap();
    assert_eq!(store.global("default"), b"");
    assert_eq!(store.global("SecureBoot"), [0]);
    assert_eq!(store.global("A"), b"1");
}

/// The power goes after every number of sectors, in both orders of sectors: the file has the old or the new variables.
#[test]
fn torn_writes_leave_the_old_or_the_new_variables() {
    let long = [7; 5000];
    let cases: [&[&[u8]]; 5] = [&[], &[b"1"], &[b"1", b"22"], &[b"1", &long], &[&long, b"333"]];
    for versions in cases {
        let old = saved(32 * 1024, versions);
        let expected_old = versions.last().copied().unwrap_or(b"");
        for new in [&b"new"[..], &[9; 6000]] {
            for backwards in [false, true] {
                let (mut seen_old, mut seen_new) = (0, 0);
                let mut complete = false;
                for power in 0..100 {
                    let (file, mut store) = open(&old);
                    let mut file = file.unwrap();
                    (file.storage.power, file.storage.backwards) = (power, backwards);
                    set(&mut store, "A", new);
                    complete = file.save(&store).is_ok();
                    let (torn, store) = open(&file.storage);
                    let torn = torn.unwrap_or_else(|error| panic!("{power} sectors: {error:?}"));
                    match store.global("A") {
                        found if found == expected_old => seen_old += 1,
                        found if found == new => seen_new += 1,
                        found => panic!("{power} sectors: {found:?}"),
                    }
                    // The disk with power again: the next write succeeds and is found.
                    let mut torn = torn;
                    torn.storage.power = usize::MAX;
                    let mut store = store;
                    set(&mut store, "A", b"next");
                    assert_eq!(torn.save(&store), Ok(true));
                    assert_eq!(open(&torn.storage).1.global("A"), b"next");
                    if complete {
                        break;
                    }
                }
                assert!(complete && seen_old > 8 && seen_new > 0, "{seen_old} {seen_new}");
            }
        }
    }
}

/// After a failed write the same file goes on: the variables that were acknowledged stay until the next write is complete.
#[test]
fn writes_after_a_failed_one_are_safe_as_well() {
    let disk = saved(32 * 1024, &[b"1", b"2"]);
    for first in 0..18 {
        for second in 0..18 {
            let (file, mut store) = open(&disk);
            let mut file = file.unwrap();
            file.storage.power = first;
            set(&mut store, "A", b"3");
            if file.save(&store).is_ok() {
                continue;
            }
            file.storage.power = second;
            set(&mut store, "A", b"4");
            let is_saved = file.save(&store).is_ok();
            let (torn, store) = open(&file.storage);
            torn.unwrap_or_else(|error| panic!("{first}, {second}: {error:?}"));
            let found = store.global("A");
            let allowed: &[&[u8]] = if is_saved { &[b"4"] } else { &[b"2", b"3", b"4"] };
            assert!(allowed.contains(&found), "{first}, {second}: {found:?}");
        }
    }
}

#[test]
fn a_damaged_slot_gives_way_to_the_other_one() {
    let disk = saved(16 * 1024, &[b"old", b"new"]);
    // Every byte of the current slot that means something.
    let content = open(&disk).0.unwrap().saved.len();
    for offset in (0..HEADER).chain(4096..4096 + content) {
        let mut damaged = disk.clone();
        damaged.bytes[8192 + offset] ^= 0x10;
        let (file, store) = open(&damaged);
        assert!(file.is_ok(), "{offset}: {file:?}");
        assert_eq!(store.global("A"), b"old", "{offset}");
    }
    let mut damaged = disk;
    damaged.bytes[4096] ^= 1;
    assert_eq!(open(&damaged).1.global("A"), b"new");
}

#[test]
fn hostile_files_are_refused_and_left_alone() {
    let one = saved(16 * 1024, &[b"1"]);
    let check = |change: &dyn Fn(&mut [u8]), index: usize, expected: SlotError, message: &str| {
        let mut disk = one.clone();
        change(&mut disk.bytes);
        let mut store = Store::new();
        set(&mut store, "default", b"x");
        let before = store.to_file();
        let error = SlotFile::open(disk, &mut store).map(drop).unwrap_err();
        assert_eq!(
            error,
            SlotFileError::Slot {
                index,
                error: expected
            }
        );
        assert_eq!(expected.to_string(), message);
        assert_eq!(store.to_file(), before);
    };
    let seal = |bytes: &mut [u8]| {
        let crc = crc32(&bytes[..24]).to_le_bytes();
        bytes[24..28].copy_from_slice(&crc);
    };
    let magic = "neither blank nor a slot of variables, which begins with VMBTSLOT";
    check(&|bytes| bytes[0] = 0, 0, SlotError::Magic, magic);
    check(&|bytes| bytes[..4096].fill(0xff), 0, SlotError::Magic, magic);
    let blank_and_garbage = |bytes: &mut [u8]| {
        bytes[..4096].fill(0);
        bytes[8192 + 4095] = 1;
    };
    check(&blank_and_garbage, 1, SlotError::Magic, magic);
    let found = crc32(&one.bytes[..24]);
    let expected = found ^ 1;
    check(
        &|bytes| bytes[24] ^= 1,
        0,
        SlotError::Checksum { expected, found },
        &format!("the CRC32 of the header is {found:#010x}, the header has {expected:#010x}"),
    );
    let version = |bytes: &mut [u8]| {
        bytes[8] = 2;
        seal(bytes);
    };
    check(
        &version,
        0,
        SlotError::Version { found: 2 },
        "version 2 of the slot is not supported",
    );
    let len = |bytes: &mut [u8]| {
        bytes[12..16].copy_from_slice(&4097_u32.to_le_bytes());
        seal(bytes);
    };
    check(
        &len,
        0,
        SlotError::Length {
            len: 4097,
            capacity: 4096,
        },
        "a content of 4097 bytes, the slot has room for 4096",
    );
    let sequence = |bytes: &mut [u8]| {
        bytes[16..24].fill(0xff);
        seal(bytes);
    };
    check(
        &sequence,
        0,
        SlotError::Sequence,
        "the sequence number is the largest one",
    );
    check(
        &|bytes| bytes[4096] = 0,
        0,
        SlotError::Content(FileError::Magic),
        "the variables are refused",
    );
    let short = open(&Disk::new(16 * 1024 - 1)).0.map(drop);
    let len = 16 * 1024 - 1;
    assert_eq!(short, Err(SlotFileError::TooShort { len }));
}

/// Found by the fuzz target: the number after the last one was written, and refused at the next start.
#[test]
fn the_last_sequence_number_is_not_written() {
    let mut disk = saved(16 * 1024, &[b"1"]);
    disk.bytes[16..24].copy_from_slice(&(u64::MAX - 2).to_le_bytes());
    let crc = crc32(&disk.bytes[..24]).to_le_bytes();
    disk.bytes[24..28].copy_from_slice(&crc);
    let (file, mut store) = open(&disk);
    let mut file = file.unwrap();
    set(&mut store, "A", b"2");
    assert_eq!(file.save(&store), Ok(true));
    set(&mut store, "A", b"3");
    assert_eq!(file.save(&store), Err(SlotFileError::Sequence));
    assert_eq!(open(&file.storage).1.global("A"), b"2");
}

#[test]
fn variables_that_do_not_fit_are_not_written() {
    let (file, mut store) = open(&Disk::new(16 * 1024));
    let mut file = file.unwrap();
    set(&mut store, "A", &[1; 4096 - 20 - 28 - 2]);
    assert_eq!(file.save(&store), Ok(true));
    let before = file.storage.bytes.clone();
    set(&mut store, "A", &[1; 4096 - 20 - 28 - 1]);
    let full = SlotFileError::Full {
        len: 4097,
        capacity: 4096,
    };
    assert_eq!(file.save(&store), Err(full));
    assert_eq!(file.storage.bytes, before);
}

#[test]
fn query_has_the_numbers_of_the_file() {
    let mut store = Variables::<65536>::new();
    let file = SlotFile::open(Disk::new(16 * 1024), &mut store).unwrap();
    store.limit_non_volatile(file.capacity());
    let info = store.query(NV).unwrap();
    assert_eq!((info.maximum_storage, info.remaining_storage), (4076, 4076));
    assert_eq!(info.maximum_variable, 4076 - 30);
    let largest = vec![1; usize::try_from(info.maximum_variable).unwrap()];
    store.set(&[65], GLOBAL_VARIABLE, NV, &largest).unwrap();
    assert_eq!(store.query(NV).unwrap().remaining_storage, 0);
    let full = Err(Status::OUT_OF_RESOURCES);
    assert_eq!(store.set(&[66], GLOBAL_VARIABLE, NV, b"1"), full);
    assert_eq!(store.set(&[66], GLOBAL_VARIABLE, 6, b"1"), Ok(()));
    assert_eq!(store.set(&[65], GLOBAL_VARIABLE, NV, b"1"), Ok(()));
    assert_eq!(store.query(6).unwrap().maximum_storage, 65536);
    // At runtime nothing is written, so the limit is that of the store.
    store.exit_boot_services();
    assert_eq!(store.query(NV).unwrap().maximum_storage, 65536);
    store.set(&[66], GLOBAL_VARIABLE, 6, b"").unwrap_err();
    store.set(&[67], GLOBAL_VARIABLE, NV, &[1; 5000]).unwrap();
}
