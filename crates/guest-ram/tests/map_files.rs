//! Loads that map files into guest memory.
#![cfg(all(feature = "vm-memory", target_os = "linux"))]

use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use boot_core::{GuestMemory as _, GuestRange, MemoryError, MemoryMap, ReadErrorKind, RegionKind};
use guest_ram::{AccessOptions, FileMapping, GuestRam, MappableFile, Memfd, RamOptions, SystemCalls};
use proptest::prelude::*;
use vm_memory::bitmap::{AtomicBitmap, Bitmap as _};
use vm_memory::{GuestAddress, GuestMemoryBackend as _, GuestMemoryMmap, GuestMemoryRegion as _};

const PAGE: u64 = 0x1000;
const LEN: u64 = 64 * PAGE;
/// First address of the memory.
const RAM: u64 = 0x10_0000;

fn range(start: u64, len: u64) -> GuestRange {
    GuestRange::new(start, len).unwrap()
}

fn map() -> MemoryMap {
    let mut map = MemoryMap::new();
    map.insert(range(RAM, LEN), RegionKind::Ram).unwrap();
    map
}

/// Bytes of a file: each depends on its page and its offset.
fn content(len: u64) -> Vec<u8> {
    (0..len)
        .map(|at| (at / PAGE * 7 + at % 251 + 1).to_le_bytes()[0])
        .collect()
}

fn file(len: u64) -> File {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(&content(len)).unwrap();
    file
}

fn sealed(len: u64) -> Memfd {
    let memfd = Memfd::create(c"kernel", usize::try_from(len).unwrap()).unwrap();
    memfd.file().write_all_at(&content(len), 0).unwrap();
    memfd.seal().unwrap();
    memfd
}

fn bytes(ram: &GuestRam, range: GuestRange) -> Vec<u8> {
    let mut bytes = vec![0; usize::try_from(range.len()).unwrap()];
    ram.read(range.start(), &mut bytes).unwrap();
    bytes
}

#[test]
fn whole_pages_are_mapped_and_the_rest_is_copied() {
    let file = file(LEN);
    let check = |start: u64, len: u64, offset: u64, mapped: &[(u64, u64, u64)]| {
        let mut ram = GuestRam::new(&map()).unwrap();
        let mut mapper = ram.map_files(FileMapping::Trusted);
        mapper.copy_from(range(RAM + start, len), &file, offset).unwrap();
        let found: Vec<_> = mapper
            .mapped()
            .iter()
            .map(|part| (part.range.start() - RAM, part.range.len(), part.offset))
            .collect();
        assert_eq!(found, mapped, "{start:#x} {len:#x} {offset:#x}");
        assert_eq!(mapper.mapped_len() + mapper.copied_len(), len);
        let expected = &content(LEN)[usize::try_from(offset).unwrap()..][..usize::try_from(len).unwrap()];
        assert_eq!(bytes(&ram, range(RAM + start, len)), expected);
        // Nothing around it changed.
        let zeros = |from: u64, to: u64| {
            bytes(&ram, range(RAM + from, to - from))
                .iter()
                .all(|&byte| byte == 0)
        };
        assert!(
            zeros(0, start) && zeros(start + len, LEN),
            "{start:#x} {len:#x} {offset:#x}"
        );
    };
    check(0, LEN, 0, &[(0, LEN, 0)]);
    check(PAGE, 3 * PAGE, 2 * PAGE, &[(PAGE, 3 * PAGE, 2 * PAGE)]);
    check(0x10, 3 * PAGE, 0x10, &[(PAGE, 2 * PAGE, PAGE)]);
    check(PAGE + 0xfff, 2 * PAGE, 0xfff, &[(2 * PAGE, PAGE, PAGE)]);
    // Too short for a page, and at other places than those of the file.
    check(0x10, PAGE, 0x10, &[]);
    check(0, 0x800, 0, &[]);
    check(0, 4 * PAGE, 0x200, &[]);
    check(0x200, 4 * PAGE, 0, &[]);
}

#[test]
fn only_files_that_nobody_can_change_are_mapped_unless_the_caller_trusts_them() {
    let check = |source: &File, files, mapped: u64| {
        let mut ram = GuestRam::new(&map()).unwrap();
        let mut mapper = ram.map_files(files);
        mapper.copy_from(range(RAM, LEN), source, 0).unwrap();
        assert_eq!((mapper.mapped_len(), mapper.copied_len()), (mapped, LEN - mapped));
        assert_eq!(bytes(&ram, range(RAM, LEN)), content(LEN));
    };
    check(&file(LEN), FileMapping::Sealed, 0);
    check(&file(LEN), FileMapping::Trusted, LEN);
    check(sealed(LEN).file(), FileMapping::Sealed, LEN);
    let unsealed = Memfd::create(c"kernel", usize::try_from(LEN).unwrap()).unwrap();
    unsealed.file().write_all_at(&content(LEN), 0).unwrap();
    check(unsealed.file(), FileMapping::Sealed, 0);
}

#[test]
fn files_are_examined_once_for_many_loads() {
    let (trusted, sealed, other) = (file(LEN), sealed(LEN), file(LEN));
    let examined = [&trusted, sealed.file()].map(|file| MappableFile::new(file).unwrap());
    let check = |source: &File, files, mapped: u64| {
        let mut ram = GuestRam::new(&map()).unwrap();
        let mut mapper = ram.map_files(files).examined(&examined);
        mapper.copy_from(range(RAM, LEN), source, 0).unwrap();
        assert_eq!((mapper.mapped_len(), mapper.copied_len()), (mapped, LEN - mapped));
        assert_eq!(bytes(&ram, range(RAM, LEN)), content(LEN));
    };
    check(&trusted, FileMapping::Trusted, LEN);
    check(&trusted, FileMapping::Sealed, 0);
    check(sealed.file(), FileMapping::Trusted, LEN);
    check(sealed.file(), FileMapping::Sealed, LEN);
    check(&other, FileMapping::Trusted, LEN);
    check(&other, FileMapping::Sealed, 0);
    // Another file is examined when it is loaded.
    let mut ram = GuestRam::new(&map()).unwrap();
    let mut mapper = ram.map_files(FileMapping::Trusted).examined(&examined);
    other.set_len(LEN - PAGE).unwrap();
    let error = mapper.copy_from(range(RAM, LEN), &other, 0).unwrap_err();
    assert!(
        matches!(&error, MemoryError::Source(read) if matches!(read.kind, ReadErrorKind::Shrunk)),
        "{error}"
    );
}

#[test]
fn only_regular_files_are_mappable() {
    assert!(MappableFile::new(&content(LEN)).is_none());
    assert!(MappableFile::new(&File::open("/dev/zero").unwrap()).is_none());
    assert!(MappableFile::new(&File::open("/").unwrap()).is_none());
    assert!(MappableFile::new(&file(0)).is_some());
}

#[test]
fn sources_that_are_no_files_are_copied() {
    let mut ram = GuestRam::new(&map()).unwrap();
    let mut mapper = ram.map_files(FileMapping::Trusted);
    mapper.copy_from(range(RAM, LEN), &content(LEN), 0).unwrap();
    assert_eq!((mapper.mapped(), mapper.copied_len()), (&[][..], LEN));
    assert_eq!(bytes(&ram, range(RAM, LEN)), content(LEN));
}

#[test]
fn other_memory_is_not_replaced() {
    let check = |ram: &mut GuestRam, mapped| {
        let mut mapper = ram.map_files(FileMapping::Trusted);
        mapper.copy_from(range(RAM, LEN), &file(LEN), 0).unwrap();
        assert_eq!(mapper.mapped_len(), mapped);
        assert_eq!(bytes(ram, range(RAM, LEN)), content(LEN));
    };
    let memory = || {
        let ranges = [(GuestAddress(RAM), usize::try_from(LEN).unwrap())];
        Arc::new(GuestMemoryMmap::from_ranges(&ranges).unwrap())
    };
    let options = AccessOptions::new();
    check(&mut GuestRam::from_memory(memory()), 0);
    check(
        &mut GuestRam::from_memory(memory()).with_access(options.anonymous_private(true)),
        LEN,
    );
    let filtered = options
        .anonymous_private(true)
        .system_calls(SystemCalls::PreadOnly);
    check(&mut GuestRam::from_memory(memory()).with_access(filtered), 0);
}

#[test]
fn writes_stay_in_the_memory_and_zeros_are_zeros() {
    let file = sealed(LEN);
    let mut first = GuestRam::new(&map()).unwrap();
    let mut second = GuestRam::new(&map()).unwrap();
    for ram in [&mut first, &mut second] {
        let mut mapper = ram.map_files(FileMapping::Sealed).prefault(true);
        mapper.copy_from(range(RAM, LEN), file.file(), 0).unwrap();
    }
    first.write(RAM + 5, b"written").unwrap();
    // Also through a clone, which drops pages of memory without files.
    first.clone().zero(range(RAM + 2 * PAGE, 32 * PAGE)).unwrap();
    let mut expected = content(LEN);
    expected[5..12].copy_from_slice(b"written");
    expected[0x2000..0x22000].fill(0);
    assert_eq!(bytes(&first, range(RAM, LEN)), expected);
    assert_eq!(bytes(&second, range(RAM, LEN)), content(LEN));
    let mut read = vec![0; usize::try_from(LEN).unwrap()];
    file.file().read_exact_at(&mut read, 0).unwrap();
    assert_eq!(read, content(LEN));
    // And once more.
    let mut mapper = first.map_files(FileMapping::Sealed);
    mapper.copy_from(range(RAM, LEN), file.file(), 0).unwrap();
    assert_eq!(bytes(&first, range(RAM, LEN)), content(LEN));
}

#[test]
fn a_file_that_became_shorter_is_an_error_and_no_signal() {
    let file = file(LEN);
    file.set_len(LEN - 1).unwrap();
    let mut ram = GuestRam::new(&map()).unwrap();
    let mut mapper = ram.map_files(FileMapping::Trusted);
    let error = mapper.copy_from(range(RAM, LEN), &file, 0).unwrap_err();
    assert!(
        matches!(&error, MemoryError::Source(error) if matches!(error.kind, ReadErrorKind::Shrunk)),
        "{error:?}"
    );
    assert!(mapper.mapped().is_empty());
    assert!(bytes(&ram, range(RAM, LEN)).iter().all(|&byte| byte == 0));
}

#[test]
fn mapped_pages_are_dirty() {
    let ram: GuestRam<GuestMemoryMmap<AtomicBitmap>> = RamOptions::new().build(&map()).unwrap();
    let mut ram = ram;
    let mut mapper = ram.map_files(FileMapping::Trusted);
    mapper
        .copy_from(range(RAM + PAGE, 4 * PAGE), &file(LEN), 0)
        .unwrap();
    assert_eq!(mapper.mapped_len(), 4 * PAGE);
    let dirty = |page: u64| {
        let addr = GuestAddress(RAM + page * PAGE);
        let (region, addr) = ram.memory().to_region_addr(addr).unwrap();
        let offset = usize::try_from(addr.0).unwrap();
        region.bitmap().dirty_at(offset)
    };
    assert_eq!([0, 1, 4, 5].map(dirty), [false, true, true, false]);
}

proptest! {
    #[test]
    fn a_load_is_the_same_mapped_and_copied(
        loads in proptest::collection::vec((0..LEN, 0..8 * PAGE, 0..LEN, any::<bool>()), 1..8),
    ) {
        let file = file(LEN);
        let mut mapped = GuestRam::new(&map()).unwrap();
        let mut copied = GuestRam::new(&map()).unwrap();
        for (start, len, offset, congruent) in loads {
            let len = len.min(LEN - start);
            let offset = if congruent { start % PAGE + offset / PAGE * PAGE } else { offset };
            let target = range(RAM + start, len);
            if offset + len > LEN {
                mapped.zero(target).unwrap();
                copied.zero(target).unwrap();
            } else {
                mapped.map_files(FileMapping::Trusted).copy_from(target, &file, offset).unwrap();
                copied.copy_from(target, &file, offset).unwrap();
            }
        }
        prop_assert!(bytes(&mapped, range(RAM, LEN)) == bytes(&copied, range(RAM, LEN)));
    }
}
