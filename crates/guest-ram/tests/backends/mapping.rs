//! Mappings of every kind, and what the host's kernel does with them.
#![expect(unsafe_code, reason = "guest memory at the address of a mapping")]

use std::fs;
use std::io::{self, Write};
use std::sync::Arc;

use boot_core::{GuestMemory, GuestRange};
use guest_ram::{
    ExclusiveBytes, HostMapping, HostRam, HostRegion, HugePages, MappingError, Memfd, MemfdSharing, RamRegion,
};

const PAGE: usize = 0x1000;

fn bytes(mapping: &HostMapping, offset: usize) -> [u8; 4] {
    let mut bytes = [0; 4];
    mapping.read(offset, &mut bytes).unwrap();
    bytes
}

/// The value in KiB of `field` for the mapping that starts at `mapping`, from `/proc/self/smaps`; flags are returned as they are.
fn smaps(mapping: &HostMapping, field: &str) -> String {
    let maps = fs::read_to_string("/proc/self/smaps").unwrap();
    let start = format!("{:x}-", mapping.host_ptr().addr());
    let mut lines = maps
        .lines()
        .skip_while(|line| !line.trim_start_matches('0').starts_with(&start));
    let line = lines.find(|line| line.starts_with(field)).unwrap();
    line[field.len() + 1..].trim().to_owned()
}

#[test]
fn memory_of_a_file_is_shared_or_copied_on_write() {
    let file = Memfd::create(c"test", 4 * PAGE).unwrap();
    let shared = HostMapping::shared(&file).unwrap();
    let private = HostMapping::private(&file).unwrap();
    shared.write(PAGE, b"base").unwrap();
    assert_eq!(bytes(&private, PAGE), *b"base");
    private.write(PAGE, b"copy").unwrap();
    assert_eq!(bytes(&shared, PAGE), *b"base");
    assert_eq!(bytes(&private, PAGE), *b"copy");
    private.dont_need(PAGE..2 * PAGE).unwrap();
    assert_eq!(bytes(&private, PAGE), *b"base");
    // Shared pages stay as they are.
    shared.dont_need(0..4 * PAGE).unwrap();
    assert_eq!(bytes(&shared, PAGE), *b"base");
}

/// What a guest reads at `offset`; an error if there is nothing.
fn guest_bytes(mapping: &Arc<HostMapping>, offset: u64) -> io::Result<[u8; 4]> {
    let range = GuestRange::new(0, mapping.len() as u64).unwrap();
    let region = RamRegion::from_mapping(range, Arc::clone(mapping), 0).unwrap();
    let mut bytes = [0; 4];
    region.read_as_guest(offset, &mut bytes)?;
    Ok(bytes)
}

#[test]
fn a_guest_writes_its_own_copy_of_a_file() {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(&[b'f'; 3 * PAGE]).unwrap();
    let mapping = Arc::new(HostMapping::copy_on_write(&file, PAGE as u64, 2 * PAGE).unwrap());
    let range = GuestRange::new(0, 2 * PAGE as u64).unwrap();
    let region = RamRegion::from_mapping(range, Arc::clone(&mapping), 0).unwrap();
    region.write_as_guest(2, b"mine").unwrap();
    region.write_as_guest(PAGE as u64, b"mine").unwrap();
    assert_eq!(guest_bytes(&mapping, 0).unwrap(), *b"ffmi");
    // The host drops pages, but neither reads nor writes them.
    mapping.dont_need(0..PAGE).unwrap();
    assert_eq!(guest_bytes(&mapping, 0).unwrap(), *b"ffff");
    assert_eq!(guest_bytes(&mapping, PAGE as u64).unwrap(), *b"mine");
    assert!(matches!(
        mapping.read(0, &mut [0]),
        Err(MappingError::NoAccess { offset: 0 })
    ));
    assert!(matches!(
        mapping.write(0, &[0]),
        Err(MappingError::NoAccess { offset: 0 })
    ));
    // A file that becomes shorter: no signal.
    file.set_len(PAGE as u64).unwrap();
    assert!(guest_bytes(&mapping, 0).is_err());
    assert!(region.write_as_guest(0, b"past").is_err());
    mapping.dont_need(0..2 * PAGE).unwrap();
}

#[test]
fn numbers_are_accessed_at_once() {
    let mapping = HostMapping::anonymous(PAGE).unwrap();
    mapping.store_u64(PAGE - 8, 0x1122_3344_5566_7788).unwrap();
    assert_eq!(mapping.load_u64(PAGE - 8).unwrap(), 0x1122_3344_5566_7788);
    assert_eq!(bytes(&mapping, PAGE - 8), 0x5566_7788_u32.to_ne_bytes());
    let misaligned = mapping.load_u64(4).unwrap_err();
    assert!(
        matches!(misaligned, MappingError::Misaligned { offset: 4, align: 8 }),
        "{misaligned}"
    );
    for offset in [PAGE, usize::MAX - 7] {
        let past = mapping.store_u64(offset, 0).unwrap_err();
        assert!(matches!(past, MappingError::NoAccess { .. }), "{past}");
    }
    let file = Memfd::create(c"test", PAGE).unwrap();
    let mut read_only = HostMapping::reserve(PAGE).unwrap();
    read_only
        .place_memfd(0..PAGE, &file, 0, MemfdSharing::SharedReadOnly)
        .unwrap();
    assert_eq!(read_only.load_u64(0).unwrap(), 0);
    assert!(read_only.store_u64(0, 1).is_err());
}

#[test]
fn anonymous_memory_becomes_zero_where_it_is_not_needed() {
    let mapping = HostMapping::anonymous(4 * PAGE).unwrap();
    for page in 0..4 {
        mapping.write(page * PAGE, b"used").unwrap();
    }
    mapping.dont_need(PAGE..3 * PAGE).unwrap();
    let found: Vec<_> = (0..4).map(|page| bytes(&mapping, page * PAGE)).collect();
    assert_eq!(found, [*b"used", [0; 4], [0; 4], *b"used"]);
}

#[test]
fn a_sealed_file_does_not_change() {
    let file = Memfd::create(c"test", 2 * PAGE).unwrap();
    let shared = HostMapping::shared(&file).unwrap();
    shared.write(0, b"text").unwrap();
    // A writable mapping exists.
    assert_eq!(file.seal().unwrap_err().kind(), io::ErrorKind::ResourceBusy);
    drop(shared);
    file.seal().unwrap();
    assert!(file.file().write_all(b"x").is_err());
    assert!(file.file().set_len(1).is_err());
    assert!(matches!(
        HostMapping::shared(&file),
        Err(MappingError::Map { .. })
    ));
    let private = HostMapping::private(&file).unwrap();
    private.write(0, b"mine").unwrap();
    let mut read_only = HostMapping::reserve(2 * PAGE).unwrap();
    let all = 0..2 * PAGE;
    read_only
        .place_memfd(all, &file, 0, MemfdSharing::SharedReadOnly)
        .unwrap();
    assert_eq!(bytes(&read_only, 0), *b"text");
    assert!(matches!(
        read_only.write(0, b"x"),
        Err(MappingError::NoAccess { offset: 0 })
    ));
}

#[test]
fn the_length_of_a_memory_file_is_fixed() {
    let file = Memfd::create(c"test", PAGE).unwrap();
    assert_eq!(file.len(), PAGE);
    for len in [0, 1, 2 * PAGE] {
        assert!(file.file().set_len(u64::try_from(len).unwrap()).is_err(), "{len}");
    }
    let invalid = Memfd::create(c"test", 0).unwrap_err();
    assert_eq!(invalid.kind(), io::ErrorKind::InvalidInput);
}

#[test]
fn files_are_for_the_guest_only() {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(&[7; 2 * PAGE]).unwrap();
    let mapping = HostMapping::shared_read_only(&file, u64::try_from(PAGE).unwrap(), PAGE).unwrap();
    for result in [
        mapping.read(0, &mut [0]),
        mapping.write(0, &[0]),
        mapping.dont_need(0..PAGE),
    ] {
        assert!(
            matches!(result, Err(MappingError::NoAccess { offset: 0 })),
            "{result:?}"
        );
    }
    // A page offset that the kernel refuses.
    assert!(matches!(
        HostMapping::shared_read_only(&file, 1, PAGE),
        Err(MappingError::Map { .. })
    ));
}

#[test]
fn parts_lie_side_by_side() {
    let file = Memfd::create(c"image", 4 * PAGE).unwrap();
    HostMapping::shared(&file).unwrap().write(PAGE, b"text").unwrap();
    let mut mapping = HostMapping::reserve(8 * PAGE).unwrap();
    mapping.place_anonymous(0..2 * PAGE).unwrap();
    let image = 2 * PAGE..5 * PAGE;
    mapping
        .place_memfd(image, &file, PAGE, MemfdSharing::SharedReadOnly)
        .unwrap();
    assert_eq!(bytes(&mapping, 2 * PAGE), *b"text");
    // Reads cross parts, and end where there is no memory.
    let mut found = [0xff; 4];
    mapping.read(2 * PAGE - 2, &mut found).unwrap();
    assert_eq!(found, [0, 0, b't', b'e']);
    let past = mapping.read(5 * PAGE - 1, &mut [0; 2]);
    assert!(matches!(past, Err(MappingError::NoAccess { offset }) if offset == 5 * PAGE));
    let crossing = mapping.write(2 * PAGE - 1, &[1, 1]);
    assert!(matches!(crossing, Err(MappingError::NoAccess { offset }) if offset == 2 * PAGE));
    mapping.read(2 * PAGE - 1, &mut found[..1]).unwrap();
    assert_eq!(found[0], 0, "nothing was written");
    assert!(mapping.read(usize::MAX, &mut [0; 2]).is_err());
    mapping.read(8 * PAGE, &mut []).unwrap();
}

#[test]
fn wrong_parts_are_refused() {
    let file = Memfd::create(c"test", 2 * PAGE).unwrap();
    let mut mapping = HostMapping::reserve(4 * PAGE).unwrap();
    mapping.place_anonymous(PAGE..2 * PAGE).unwrap();
    let overlap = mapping.place_anonymous(0..2 * PAGE).unwrap_err();
    assert!(matches!(overlap, MappingError::Overlap { other, .. } if other == (PAGE..2 * PAGE)));
    for range in [3 * PAGE..5 * PAGE, 2 * PAGE..2 * PAGE] {
        let error = mapping.place_anonymous(range).unwrap_err();
        assert!(matches!(error, MappingError::Range { .. }), "{error}");
    }
    for range in [1..PAGE, 2 * PAGE..2 * PAGE + 1] {
        let error = mapping.place_anonymous(range).unwrap_err();
        assert!(matches!(error, MappingError::Length { .. }), "{error}");
    }
    for offset in [PAGE, usize::MAX] {
        let range = 2 * PAGE..4 * PAGE;
        let error = mapping
            .place_memfd(range, &file, offset, MemfdSharing::Shared)
            .unwrap_err();
        assert!(matches!(error, MappingError::FileRange { .. }), "{error}");
    }
    for len in [0, 1, usize::MAX & !(PAGE - 1)] {
        assert!(
            matches!(HostMapping::reserve(len), Err(MappingError::Length { .. })),
            "{len:#x}"
        );
    }
}

#[test]
fn memory_is_not_reserved_and_pages_are_small_on_request() {
    let len = 16 << 20;
    let mapping = HostMapping::anonymous(len).unwrap();
    mapping.advise_huge_pages(HugePages::Avoid);
    mapping.write(0, b"x").unwrap();
    let flags = smaps(&mapping, "VmFlags:");
    let flags: Vec<_> = flags.split(' ').collect();
    assert!(flags.contains(&"nr") && flags.contains(&"nh"), "{flags:?}");
    assert_eq!(smaps(&mapping, "Rss:"), "4 kB");
}

#[test]
fn a_region_keeps_its_mapping_and_a_plan_can_be_loaded() {
    let mapping = Arc::new(HostMapping::anonymous(4 * PAGE).unwrap());
    let range = GuestRange::new(0x4000_0000, 0x2000).unwrap();
    let region = RamRegion::from_mapping(range, Arc::clone(&mapping), PAGE).unwrap();
    assert_eq!(region.range(), range);
    let host = std::ptr::NonNull::new(region.host_ptr()).unwrap();
    // SAFETY: the region keeps the bytes mapped, and nothing else accesses them.
    let mut ram = unsafe { HostRam::new([HostRegion { range, host }]) }.unwrap();
    ram.write(0x4000_0ffe, b"load").unwrap();
    assert_eq!(bytes(&mapping, 2 * PAGE - 2), *b"load");
    let weak = Arc::downgrade(&mapping);
    drop(mapping);
    assert!(weak.upgrade().is_some());
    drop((ram, region));
    assert!(weak.upgrade().is_none());
}

#[test]
fn exclusive_bytes_have_one_owner() {
    let mapping = Arc::new(HostMapping::anonymous(3 * PAGE).unwrap());
    let mut bytes = ExclusiveBytes::new(Arc::clone(&mapping), 8..PAGE + 8).unwrap();
    assert_eq!((bytes.len(), bytes.is_empty()), (PAGE, false));
    for range in [0..9, 100..101, PAGE + 7..PAGE + 8] {
        let found = ExclusiveBytes::new(Arc::clone(&mapping), range.clone());
        assert!(matches!(found, Err(MappingError::Claimed { .. })), "{range:?}");
        let mut copy = vec![0; range.len()];
        let read = mapping.read(range.start, &mut copy);
        assert!(matches!(read, Err(MappingError::Claimed { .. })), "{range:?}");
        let written = mapping.write(range.start, &copy);
        assert!(matches!(written, Err(MappingError::Claimed { .. })), "{range:?}");
    }
    assert!(matches!(
        mapping.dont_need(PAGE..2 * PAGE),
        Err(MappingError::Claimed { .. })
    ));
    mapping.write(PAGE + 8, b"free").unwrap();
    mapping.write(0, b"12345678").unwrap();
    assert!(bytes.write(0, b"owner"));
    // The next owner has the bytes as they are.
    drop(bytes);
    mapping.dont_need(PAGE..2 * PAGE).unwrap();
    let bytes = ExclusiveBytes::new(mapping, 0..3 * PAGE).unwrap();
    assert!(bytes.equals(0, b"12345678owner\0"));
}

#[test]
fn exclusive_bytes_end_where_they_end() {
    let mapping = Arc::new(HostMapping::anonymous(2 * PAGE).unwrap());
    let mut bytes = ExclusiveBytes::new(mapping, 0..PAGE).unwrap();
    let mut copy = vec![7];
    for (offset, len) in [(0, PAGE + 1), (PAGE, 1), (usize::MAX, 2), (1, usize::MAX)] {
        assert!(!bytes.append_to(offset, len, &mut copy));
        assert!(!bytes.zero(offset, len));
    }
    assert_eq!(copy, [7]);
    assert!(!bytes.write(PAGE - 3, b"1234") && bytes.write(PAGE - 4, b"1234"));
    assert!(!bytes.equals(PAGE - 3, b"2341") && !bytes.equals(PAGE - 3, b"2340"));
    assert!(bytes.equals(PAGE - 4, b"1234") && bytes.equals(PAGE, b""));
    let word = u64::from_le_bytes(*b"\0\0\0\x001234");
    assert_eq!(bytes.read_words(PAGE - 16), Some([0, word.to_le()]));
    assert_eq!(bytes.read_words::<2>(PAGE - 8), None);
    assert_eq!(bytes.read_words::<1>(PAGE - 12), None);
    assert!(!bytes.write_words(PAGE - 8, [0, 0]) && !bytes.write_words(PAGE - 12, [0]));
    assert!(bytes.write_words(PAGE - 16, [word, word]));
    assert_eq!(bytes.read_words(PAGE - 16), Some([word, word]));
    assert!(bytes.append_to(PAGE - 4, 4, &mut copy));
    assert_eq!(copy, b"\x071234");
    assert!(bytes.read_to(PAGE - 2, 2, &mut copy));
    assert_eq!(copy, b"34");
    assert!(bytes.zero(PAGE - 3, 2));
    assert!(bytes.equals(PAGE - 4, &[b'1', 0, 0, b'4']));
    assert!(!bytes.read_to(PAGE, 1, &mut copy));
    assert!(copy.is_empty());
}

#[test]
fn a_claim_needs_writable_memory() {
    let file = Memfd::create(c"test", PAGE).unwrap();
    let mut mapping = HostMapping::reserve(2 * PAGE).unwrap();
    mapping
        .place_memfd(0..PAGE, &file, 0, MemfdSharing::SharedReadOnly)
        .unwrap();
    let mapping = Arc::new(mapping);
    for range in [0..1, PAGE..PAGE + 1, 2 * PAGE..2 * PAGE + 1] {
        let found = ExclusiveBytes::new(Arc::clone(&mapping), range.clone());
        assert!(matches!(found, Err(MappingError::NoAccess { .. })), "{range:?}");
    }
}

#[test]
fn a_guest_accesses_all_memory_of_its_region() {
    let mapping = Arc::new(HostMapping::anonymous(3 * PAGE).unwrap());
    let range = GuestRange::new(0x4000_0000, 2 * PAGE as u64).unwrap();
    let region = RamRegion::from_mapping(range, Arc::clone(&mapping), PAGE).unwrap();
    let owner = ExclusiveBytes::new(Arc::clone(&mapping), PAGE..2 * PAGE).unwrap();
    region.write_as_guest(0xffe, b"over").unwrap();
    assert!(owner.equals(0xffe, b"ov"));
    assert_eq!(bytes(&mapping, 2 * PAGE), *b"er\0\0");
    let mut copy = [0; 4];
    region.read_as_guest(0xffe, &mut copy).unwrap();
    assert_eq!(&copy, b"over");
    region.read_as_guest(2 * PAGE as u64, &mut []).unwrap();
    for offset in [2 * PAGE as u64 - 3, 2 * PAGE as u64, u64::MAX] {
        let error = region.write_as_guest(offset, b"past").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{offset:#x}");
    }
    // Addresses without memory.
    let hole = Arc::new(HostMapping::reserve(2 * PAGE).unwrap());
    let region = RamRegion::from_mapping(range, hole, 0).unwrap();
    assert!(region.read_as_guest(0, &mut copy).is_err());
}

#[test]
fn bytes_are_copied_from_one_mapping_to_another() {
    let file = Memfd::create(c"test", 4 * PAGE).unwrap();
    HostMapping::shared(&file)
        .unwrap()
        .write(PAGE - 2, b"from")
        .unwrap();
    let mut source = HostMapping::reserve(4 * PAGE).unwrap();
    source
        .place_memfd(0..3 * PAGE, &file, 0, MemfdSharing::SharedReadOnly)
        .unwrap();
    let target = Arc::new(HostMapping::anonymous(4 * PAGE).unwrap());
    target.write(2 * PAGE, b"used").unwrap();
    target.copy_from(&source, PAGE - 1, PAGE + 3).unwrap();
    assert_eq!(bytes(&target, PAGE - 2), *b"\0rom");
    assert_eq!(bytes(&target, 2 * PAGE), *b"\0\0ed");
    target.copy_from(&target, 0, PAGE).unwrap();
    target.zero(PAGE, PAGE + 3).unwrap();
    assert_eq!(bytes(&target, PAGE - 2), *b"\0r\0\0");
    assert_eq!(bytes(&target, 2 * PAGE), *b"\0\0\0d");
    let owner = ExclusiveBytes::new(Arc::clone(&target), 0..1).unwrap();
    let claimed = |result| matches!(result, Err(MappingError::Claimed { .. }));
    assert!(claimed(target.copy_from(&source, 0, 1)) && claimed(target.zero(0, 1)));
    assert!(claimed(
        HostMapping::anonymous(PAGE).unwrap().copy_from(&target, 0, 1)
    ));
    drop(owner);
    let no_access = |result| matches!(result, Err(MappingError::NoAccess { .. }));
    assert!(no_access(target.copy_from(&source, 3 * PAGE, 1)));
    assert!(no_access(source.copy_from(&target, 0, 1)) && no_access(source.zero(0, 1)));
}
