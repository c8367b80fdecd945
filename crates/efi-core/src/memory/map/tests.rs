use super::*;
use std::vec;

const MIB: u64 = 1 << 20;
const CONVENTIONAL: MemoryType = MemoryType::CONVENTIONAL;
const DATA: MemoryType = MemoryType::LOADER_DATA;

fn map() -> MemoryMap {
    let mut map = MemoryMap::new(MapConfig::default());
    map.add(&Descriptor::ram(CONVENTIONAL, 0, 160)).unwrap();
    map.add(&Descriptor::ram(CONVENTIONAL, MIB, 256)).unwrap();
    map.add(&Descriptor::ram(CONVENTIONAL, 1 << 32, 256)).unwrap();
    map
}

fn list(map: &MemoryMap) -> Vec<(u64, u64, MemoryType)> {
    map.descriptors().map(|d| (d.start, d.pages, d.kind)).collect()
}

#[test]
fn allocations_go_down_from_the_limit() {
    let mut map = map();
    let top = 2 * MIB;
    assert_eq!(map.allocate(Placement::Any, DATA, 1), Ok(top - PAGE_SIZE));
    assert_eq!(map.allocate(Placement::Any, DATA, 2), Ok(top - 3 * PAGE_SIZE));
    assert_eq!(
        list(&map),
        [
            (0, 160, CONVENTIONAL),
            (MIB, 253, CONVENTIONAL),
            (top - 3 * PAGE_SIZE, 3, DATA),
            (1 << 32, 256, CONVENTIONAL)
        ]
    );
    assert_eq!(map.free(top - 3 * PAGE_SIZE, 3), Ok(()));
    assert_eq!(list(&map)[1], (MIB, 256, CONVENTIONAL));
    // Above the limit only when the memory below does not suffice.
    assert_eq!(map.allocate(Placement::Any, DATA, 256), Ok(MIB));
    assert_eq!(
        map.allocate(Placement::Any, DATA, 161),
        Ok((1 << 32) + 95 * PAGE_SIZE)
    );
    assert_eq!(
        map.allocate(Placement::Any, DATA, 257),
        Err(Status::OUT_OF_RESOURCES)
    );
}

#[test]
fn placements_have_limits_and_addresses() {
    let mut map = map();
    let before = map.key();
    let mut check = |placement, pages, expected| assert_eq!(map.allocate(placement, DATA, pages), expected);
    let (full, missing) = (Err(Status::OUT_OF_RESOURCES), Err(Status::NOT_FOUND));
    check(Placement::Max(MIB - 1), 160, full);
    check(Placement::Max(0xfff), 1, full);
    check(Placement::Max(0x1ffe), 1, full);
    check(Placement::At(0x1001), 1, Err(Status::INVALID_PARAMETER));
    check(Placement::At(0x1000), 0, Err(Status::INVALID_PARAMETER));
    check(Placement::At(0x1000), 160, missing);
    check(Placement::At(0x1000), u64::MAX, missing);
    check(Placement::At(0u64.wrapping_sub(PAGE_SIZE)), 1, missing);
    check(Placement::Any, u64::MAX, full);
    assert_eq!(map.key(), before, "a failed allocation changes nothing");
    let mut check = |placement, pages, expected| assert_eq!(map.allocate(placement, DATA, pages), expected);
    check(Placement::Max(0x1fff), 1, Ok(0x1000));
    check(Placement::At(0x1000), 1, missing);
    check(Placement::At(0), 1, Ok(0));
    check(Placement::Max(u64::MAX), 1, Ok((1 << 32) + 255 * PAGE_SIZE));
    assert_ne!(map.key(), before);
}

#[test]
fn types_without_allocations_are_refused() {
    let mut map = map();
    let mut check = |kind: u32, expected: bool| {
        let found = map.allocate(Placement::Any, MemoryType(kind), 1);
        assert_eq!(found.is_ok(), expected, "{kind:#x}: {found:?}");
    };
    for kind in [7, 14, 15, 16, 0x6fff_ffff] {
        check(kind, false);
    }
    for kind in [0, 1, 6, 13, 0x7000_0000, 0x8000_0000, u32::MAX] {
        check(kind, true);
    }
}

#[test]
fn only_the_owner_frees_pages() {
    let mut map = map();
    map.reserve(MIB, 16, MemoryType::BOOT_SERVICES_CODE).unwrap();
    assert_eq!(map.reserve(MIB, 1, DATA), Err(Status::NOT_FOUND));
    let start = map.allocate(Placement::Any, DATA, 4).unwrap();
    let key = map.key();
    let missing = Err(Status::NOT_FOUND);
    let invalid = Err(Status::INVALID_PARAMETER);
    for (address, pages, expected) in [
        (MIB, 1, missing),
        (start - PAGE_SIZE, 2, missing),
        (start, 5, missing),
        (start + 1, 1, invalid),
        (start, 0, invalid),
        (start, u64::MAX, invalid),
        (1 << 40, 1, missing),
    ] {
        assert_eq!(map.free(address, pages), expected);
    }
    assert_eq!(map.key(), key);
    assert_eq!(map.free(start + PAGE_SIZE, 2), Ok(()));
    assert_eq!(map.free(start, 4), missing);
    assert_eq!(map.free(start, 1), Ok(()));
    assert_eq!(map.free(start + 3 * PAGE_SIZE, 1), Ok(()));
}

#[test]
fn runtime_regions_have_a_unit_of_their_own_and_their_attribute() {
    let mut map = MemoryMap::new(MapConfig::default().with_runtime_granularity(16));
    map.add(&Descriptor::ram(CONVENTIONAL, MIB, 250)).unwrap();
    let kind = MemoryType::RUNTIME_SERVICES_DATA;
    let start = map.allocate(Placement::Any, kind, 1).unwrap();
    assert_eq!(start, MIB + 224 * PAGE_SIZE);
    let (descriptor, owner) = map.at(start + 5).unwrap();
    assert_eq!((descriptor.pages, owner), (16, Owner::Pages));
    assert!(
        descriptor
            .attributes
            .contains(Attributes::RUNTIME | Attributes::WB)
    );
    assert_eq!(
        map.allocate(Placement::At(MIB + PAGE_SIZE), kind, 1),
        Err(Status::NOT_FOUND)
    );
    assert_eq!(map.free(start + PAGE_SIZE, 1), Err(Status::INVALID_PARAMETER));
    assert_eq!(map.free(start, 1), Ok(()));
    assert_eq!(list(&map), [(MIB, 250, CONVENTIONAL)]);
}

#[test]
fn platform_memory_must_not_overlap() {
    let mut map = map();
    let mut check = |start, pages, expected: Result<()>| {
        assert_eq!(
            map.add(&Descriptor::ram(MemoryType::MMIO, start, pages)),
            expected
        );
    };
    let refused = Err(Status::INVALID_PARAMETER);
    check(MIB, 1, refused);
    check(MIB - PAGE_SIZE, 2, refused);
    check(159 * PAGE_SIZE, 1, refused);
    check(160 * PAGE_SIZE, 0, refused);
    check(160 * PAGE_SIZE + 1, 1, refused);
    check(0_u64.wrapping_sub(PAGE_SIZE), 2, refused);
    check(0_u64.wrapping_sub(PAGE_SIZE), 1, Ok(()));
    check(160 * PAGE_SIZE, 96, Ok(()));
    assert_eq!(map.descriptors().last().unwrap().last(), u64::MAX);
    assert!(map.all_pages(0, 512, |_, _| true));
    assert!(!map.all_pages(0, 513, |_, _| true));
    assert!(!map.all_pages(0, 512, |kind, _| kind == CONVENTIONAL));
}

#[test]
fn the_number_of_regions_is_bounded() {
    let mut map = MemoryMap::new(MapConfig::default());
    map.add(&Descriptor::ram(CONVENTIONAL, MIB, 1 << 14)).unwrap();
    let mut ends = vec![];
    for page in 0..1 << 13 {
        ends.push(map.allocate(Placement::At(MIB + page * 2 * PAGE_SIZE), DATA, 1));
    }
    assert_eq!(ends.last(), Some(&Err(Status::OUT_OF_RESOURCES)));
    assert!(map.descriptors().count() <= MAX_REGIONS);
    assert_eq!(
        map.free(MIB + 2 * PAGE_SIZE, 1),
        Ok(()),
        "a whole region needs no other"
    );
    assert_eq!(map.free(MIB + 2 * PAGE_SIZE, 1), Err(Status::NOT_FOUND));
}

#[test]
fn small_ranges_are_used_last() {
    let mut map = MemoryMap::new(MapConfig::default().with_small_range(16));
    map.add(&Descriptor::ram(CONVENTIONAL, MIB, 64)).unwrap();
    let top = MIB + 64 * PAGE_SIZE;
    // A free range of 15 pages behind an allocation, and one of 16 below.
    map.allocate(Placement::At(MIB + 16 * PAGE_SIZE), DATA, 33)
        .unwrap();
    let next = |map: &mut MemoryMap, placement, pages| map.allocate(placement, DATA, pages);
    assert_eq!(next(&mut map, Placement::Any, 1), Ok(MIB + 15 * PAGE_SIZE));
    // Now both are small.
    assert_eq!(
        next(&mut map, Placement::Max(top - 1), 15),
        Ok(MIB + 49 * PAGE_SIZE)
    );
    assert_eq!(next(&mut map, Placement::Any, 15), Ok(MIB));
    assert_eq!(next(&mut map, Placement::Any, 1), Err(Status::OUT_OF_RESOURCES));
}
