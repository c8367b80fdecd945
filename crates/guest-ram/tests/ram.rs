//! Behaviour of guest memory on every kind of mapping.

#![cfg(all(feature = "vm-memory", target_os = "linux", not(miri)))]

#[path = "shared/content.rs"]
mod content;

use std::error::Error;
use std::fs::{self, File};
use std::io::{Seek, SeekFrom};
use std::ptr::{self, NonNull};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use boot_core::{
    ByteSource, GuestMemory, GuestRange, MemoryError, MemoryMap, ReadError, ReadErrorKind, RegionKind,
};
use content::{file, pattern};
use guest_ram::{AccessOptions, GuestRam, HostRegion, HugePages, RamError, RamOptions};
use vm_memory::bitmap::{AtomicBitmap, Bitmap};
use vm_memory::{
    FileOffset, GuestAddress, GuestMemoryBackend, GuestMemoryMmap, GuestMemoryRegion, GuestRegionMmap,
    MmapRegion,
};

fn range(start: u64, end: u64) -> GuestRange {
    GuestRange::from_bounds(start, end).unwrap()
}

fn map(ranges: &[(u64, u64)]) -> MemoryMap {
    let mut map = MemoryMap::new();
    for &(start, end) in ranges {
        map.insert(range(start, end), RegionKind::Ram).unwrap();
    }
    map
}

fn read(ram: &impl GuestMemory, range: GuestRange) -> Vec<u8> {
    let mut bytes = vec![0; usize::try_from(range.len()).unwrap()];
    ram.read(range.start(), &mut bytes).unwrap();
    bytes
}

/// A source without a known backing store.
struct Opaque<'a>(&'a [u8]);

impl ByteSource for Opaque<'_> {
    fn len(&self) -> Result<u64, ReadError> {
        ByteSource::len(self.0)
    }

    fn read_exact_at(&self, offset: u64, buf: &mut [u8]) -> Result<(), ReadError> {
        self.0.read_exact_at(offset, buf)
    }
}

#[test]
fn every_source_arrives_across_adjacent_regions() {
    // Split at 2 and 4 MiB: three mappings. The pattern crosses both boundaries.
    let memory_map = map(&[(0x1f_0000, 0x41_0000)]);
    let bytes = pattern(0x21_0003);
    let on_disk = file(&bytes);
    let opaque = Opaque(&bytes);
    let sources: [&dyn ByteSource; 3] = [&bytes, &on_disk, &opaque];
    for (index, source) in sources.into_iter().enumerate() {
        let mut ram = GuestRam::new(&memory_map).unwrap();
        assert_eq!(ram.regions().count(), 3);
        let target = range(0x1f_8001, 0x40_8001);
        ram.copy_from(target, source, 3).unwrap();
        assert!(read(&ram, target) == bytes[3..], "source {index}");
        assert_eq!(read(&ram, range(0x1f_8000, 0x1f_8001)), [0], "source {index}");
        assert_eq!(read(&ram, range(0x40_8001, 0x40_8002)), [0], "source {index}");
    }
}

#[test]
fn every_advice_about_huge_pages_results_in_the_same_memory() {
    let memory_map = MemoryMap::pc(8 << 20).unwrap();
    let expected = [(0, 0xa_0000), (0x10_0000, 0x20_0000), (0x20_0000, 0x80_0000)];
    for huge_pages in [HugePages::Advise, HugePages::Avoid, HugePages::HostDefault] {
        let options = RamOptions::new().huge_pages(huge_pages);
        let mut ram: GuestRam = options.build(&memory_map).unwrap();
        let regions: Vec<_> = ram
            .regions()
            .map(|region| (region.range().start(), region.range().end()))
            .collect();
        assert_eq!(regions, expected, "{huge_pages:?}");
        ram.write(0x1f_fffe, b"boot").unwrap();
        assert_eq!(read(&ram, range(0x1f_fffe, 0x20_0002)), b"boot");
    }
}

/// Size of the mappings of this process in bytes.
fn mapped() -> u64 {
    let statm = fs::read_to_string("/proc/self/statm").unwrap();
    let pages: u64 = statm.split(' ').next().unwrap().parse().unwrap();
    pages * 0x1000
}

#[test]
fn huge_pages_of_host_and_guest_coincide() {
    const MIB: u64 = 1 << 20;
    // From 1 MiB, from odd pages, of odd lengths.
    let maps = [
        &[(0, 0xa_0000), (MIB, 7 * MIB)][..],
        &[(0x7000, 2 * MIB + 0x7000), (0x1_0001_3000, 0x1_0201_8000)],
        &[(0x4000_0000, 0x4020_0000), (0x4040_1000, 0x5000_0000)],
    ];
    for (i, ranges) in maps.into_iter().enumerate() {
        for huge_pages in [HugePages::Advise, HugePages::Avoid, HugePages::HostDefault] {
            // Several at once, so that there are gaps between mappings.
            let all: Vec<GuestRam> = (0..4)
                .map(|_| {
                    RamOptions::new()
                        .huge_pages(huge_pages)
                        .build(&map(ranges))
                        .unwrap()
                })
                .collect();
            let large = all.iter().flat_map(GuestRam::regions);
            // Those that contain a huge page of the guest.
            let large = large.filter(|region| {
                let first = region.range().start().next_multiple_of(2 * MIB);
                first + 2 * MIB <= region.range().end()
            });
            let large: Vec<_> = large.collect();
            assert!(large.len() >= 4, "map {i}");
            for region in large {
                let (guest, host) = (region.range().start(), region.host_addr());
                assert_eq!(
                    guest % (2 * MIB),
                    host % (2 * MIB),
                    "map {i}, {huge_pages:?}: {host:#x} for {guest:#x}"
                );
            }
        }
    }
}

#[test]
fn mappings_have_no_surplus_and_end_with_the_memory() {
    const GIB: u64 = 1 << 30;
    let before = mapped();
    let whole = RamOptions::new().huge_pages(HugePages::HostDefault);
    // Another test may map less than a GiB at the same time.
    let large: GuestRam = whole.build(&map(&[(0x10_0000, 8 * GIB + 0x3000)])).unwrap();
    let with = mapped() - before;
    assert!((7 * GIB..9 * GIB).contains(&with), "{with:#x}");
    drop(large);
    assert!(mapped().abs_diff(before) < GIB);
    // A lost page table entry of 2 MiB in each would be 4 GiB.
    for _ in 0..2048 {
        let ram: GuestRam = whole.build(&map(&[(0x10_0000, 0x50_1000)])).unwrap();
        drop(ram);
    }
    assert!(mapped().abs_diff(before) < GIB);
}

#[test]
fn regions_of_the_vmm_can_coincide_too() {
    let mapping = NonNull::new(ptr::without_provenance_mut(0x7000_3000)).unwrap();
    let check = |start: u64, len: u64, mapped: usize, expected: Option<usize>| {
        let range = GuestRange::new(start, len).unwrap();
        let region = HostRegion::congruent(range, mapping, mapped);
        assert_eq!(region.map(|region| region.host.addr().get()), expected);
        assert!(region.is_none_or(|region| region.range == range));
    };
    let surplus = HostRegion::SURPLUS;
    check(0x10_3000, 0x1000, surplus, Some(0x7010_3000));
    check(0x4000_3000, 0x1000, 0x1000, Some(0x7000_3000));
    check(0x4000_2000, 0x1000, surplus, Some(0x701f_f000 + 0x3000));
    check(0x4000_2000, 0x1000, surplus - 1, None);
    check(0x4000_2000, 0x1001, surplus, None);
    check(0x4000_2000, 0x1001, 0x1000, None);
}

#[test]
fn around_the_hole_below_4_gib() {
    let mut ram = GuestRam::new(&MemoryMap::pc(0xc000_0000 + 0x100_0000).unwrap()).unwrap();
    let check = |ram: &mut GuestRam, addr: u64, len: usize, fits: bool| {
        let bytes = pattern(len);
        let access = GuestRange::new(addr, u64::try_from(len).unwrap()).unwrap();
        assert_eq!(ram.check(access).is_ok(), fits, "{access}");
        assert_eq!(ram.write(addr, &bytes).is_ok(), fits, "{access}");
        let mut found = vec![0; len];
        assert_eq!(ram.read(addr, &mut found).is_ok(), fits, "{access}");
        assert_eq!(found == bytes, fits, "{access}");
        assert_eq!(ram.copy_from(access, &bytes, 0).is_ok(), fits, "{access}");
        assert_eq!(ram.zero(access).is_ok(), fits, "{access}");
    };
    check(&mut ram, 0xbfff_fffc, 4, true);
    check(&mut ram, 0xbfff_fffd, 4, false);
    check(&mut ram, 0xc000_0000, 1, false);
    check(&mut ram, 0xffff_ffff, 1, false);
    check(&mut ram, 0xffff_ffff, 2, false);
    check(&mut ram, 0x1_0000_0000, 4, true);
    check(&mut ram, 0x1_00ff_fffc, 4, true);
    check(&mut ram, 0x1_00ff_fffd, 4, false);
    // The accesses that did not fit wrote nothing.
    assert_eq!(read(&ram, range(0xbfff_fffd, 0xc000_0000)), [0; 3]);
    assert!(ram.write(u64::MAX, &[0, 0]).is_err());
    assert!(ram.read(u64::MAX, &mut [0, 0]).is_err());

    // Accesses can cross 4 GiB if RAM does.
    let four = 0x1_0000_0000;
    let ranges = [
        (GuestAddress(four - 0x2000), 0x2000),
        (GuestAddress(four), 0x2000),
    ];
    let memory = Arc::new(GuestMemoryMmap::<()>::from_ranges(&ranges).unwrap());
    let mut ram = GuestRam::from_memory(memory);
    let bytes = pattern(0x3000);
    ram.copy_from(range(four - 0x1800, four + 0x1800), &file(&bytes), 0)
        .unwrap();
    assert!(read(&ram, range(four - 0x1800, four + 0x1800)) == bytes);
}

#[test]
fn an_access_of_no_bytes_succeeds_anywhere() {
    let mut ram = GuestRam::new(&map(&[(0x1000, 0x2000)])).unwrap();
    for addr in [0, 0x1000, 0x2000, 0x3000, u64::MAX] {
        ram.check(range(addr, addr)).unwrap();
        ram.write(addr, &[]).unwrap();
        ram.read(addr, &mut []).unwrap();
        ram.zero(range(addr, addr)).unwrap();
        ram.copy_from(range(addr, addr), &[0u8; 0], 0).unwrap();
    }
}

#[test]
fn a_truncated_file_is_an_error_at_its_end() {
    let bytes = pattern(0x60_0000);
    let on_disk = file(&bytes);
    let source_len = ByteSource::len(&on_disk).unwrap();
    assert_eq!(source_len, 0x60_0000);
    on_disk.set_len(0x50_0001).unwrap();

    for threads in [1, 2, 3] {
        let options = RamOptions::new().access(AccessOptions::new().copy_threads(threads));
        let mut ram: GuestRam<GuestMemoryMmap<AtomicBitmap>> =
            options.build(&map(&[(0, 0x80_0000)])).unwrap();
        let error = ram.copy_from(range(0, 0x60_0000), &on_disk, 0).unwrap_err();
        let MemoryError::Source(failed) = error else {
            panic!("{error}");
        };
        let gone = failed.range;
        assert!(matches!(failed.kind, ReadErrorKind::Shrunk), "{failed:?}");
        assert!(gone.offset() <= 0x50_0001 && gone.end() == 0x60_0000, "{gone}");
        // The bytes before the end of the file are marked: they may have been written.
        assert!(read(&ram, range(0, 0x50_0001)) == bytes[..0x50_0001]);
        for addr in [0, 0x4f_ffff, 0x50_0000] {
            assert!(is_dirty(&ram, addr), "{addr:#x}");
        }
    }
}

#[test]
fn the_number_of_threads_changes_nothing_but_time() {
    let bytes = pattern(0xa0_0123);
    let on_disk = file(&bytes);
    let memory_map = map(&[(0, 0x100_0000)]);
    let target = range(0x1f_f123, 0x1f_f123 + 0xa0_0000);
    for threads in [0, 1, 2, 3, 100] {
        for source in [&bytes as &dyn ByteSource, &on_disk] {
            let options = RamOptions::new().access(AccessOptions::new().copy_threads(threads));
            let mut ram: GuestRam<GuestMemoryMmap<AtomicBitmap>> = options.build(&memory_map).unwrap();
            ram.copy_from(target, source, 0x123).unwrap();
            assert!(read(&ram, target) == bytes[0x123..], "{threads}");
            assert!(
                !is_dirty(&ram, 0x1f_e000) && is_dirty(&ram, 0x1f_f000),
                "{threads}"
            );
            assert!(
                is_dirty(&ram, 0xbf_f000) && !is_dirty(&ram, 0xc0_0000),
                "{threads}"
            );
            // A range that is not completely in memory stays unchanged.
            let beyond = range(0xd0_0000, 0x100_0001);
            assert!(
                matches!(ram.copy_from(beyond, source, 0), Err(MemoryError::NotBacked(found)) if found == beyond)
            );
            assert!(
                !is_dirty(&ram, 0xd0_0000) && !is_dirty(&ram, 0xff_f000),
                "{threads}"
            );
        }
    }
}

#[test]
fn a_file_that_is_cut_again_and_again_never_kills_the_process() {
    const LEN: u64 = 0x40_0000;
    let bytes = pattern(usize::try_from(LEN).unwrap());
    let on_disk = file(&bytes);
    // The copies are large enough for a second thread.
    let options = RamOptions::new().access(AccessOptions::new().copy_threads(2));
    let mut ram: GuestRam = options.build(&map(&[(0, LEN)])).unwrap();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                on_disk.set_len(0).unwrap();
                on_disk.set_len(LEN).unwrap();
            }
        });
        for _ in 0..100 {
            match ram.copy_from(range(0, LEN), &on_disk, 0) {
                Ok(()) => {}
                Err(MemoryError::Source(error)) => {
                    assert!(matches!(error.kind, ReadErrorKind::Shrunk), "{error}");
                }
                Err(error) => panic!("{error}"),
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
}

#[test]
fn files_that_cannot_be_read_are_errors_with_the_reason() {
    let mut ram = GuestRam::new(&map(&[(0, 0x10_0000)])).unwrap();
    let mut check = |file: &File, offset: u64, expected: &dyn Fn(&ReadErrorKind) -> bool| match ram.copy_from(
        range(0, 0x1000),
        file,
        offset,
    ) {
        Err(MemoryError::Source(error)) => assert!(expected(&error.kind), "{error:?}"),
        other => panic!("{other:?}"),
    };
    let is_directory = |kind: &ReadErrorKind| match kind {
        ReadErrorKind::Source(error) => error
            .downcast_ref::<std::io::Error>()
            .is_some_and(|error| error.raw_os_error() == Some(libc::EISDIR)),
        _ => false,
    };
    let shrunk = |kind: &ReadErrorKind| matches!(kind, ReadErrorKind::Shrunk);
    let past_end = |kind: &ReadErrorKind| matches!(kind, ReadErrorKind::PastEnd(_));
    check(&File::open("/").unwrap(), 0, &is_directory);
    check(&File::open("/dev/null").unwrap(), 0, &shrunk);
    let short = file(&[1; 0x1000]);
    check(&short, 1, &shrunk);
    check(&short, 0x7fff_ffff_ffff_e000, &shrunk);
    check(&short, 0x8000_0000_0000_0000, &past_end);
    check(&short, u64::MAX, &past_end);

    for offset in [1, 0x1001, u64::MAX] {
        for source in [&vec![1u8; 0x1000] as &dyn ByteSource, &Opaque(&[1; 0x1000])] {
            assert!(
                ram.copy_from(range(0, 0x1000), source, offset).is_err(),
                "{offset:#x}"
            );
        }
    }
}

#[test]
fn the_cursor_of_a_file_stays_where_it_is() {
    let mut on_disk = file(&pattern(0x2000));
    on_disk.seek(SeekFrom::Start(7)).unwrap();
    let mut ram = GuestRam::new(&map(&[(0, 0x2000)])).unwrap();
    ram.copy_from(range(0, 0x2000), &on_disk, 0).unwrap();
    assert_eq!(on_disk.stream_position().unwrap(), 7);
}

#[test]
fn memory_that_cannot_be_written_is_an_error_of_the_memory() {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    let mapping = MmapRegion::<AtomicBitmap>::build(None, 0x20_0000, libc::PROT_READ, flags).unwrap();
    let region = GuestRegionMmap::new(mapping, GuestAddress(0)).unwrap();
    let memory = Arc::new(GuestMemoryMmap::from_regions(vec![region]).unwrap());
    let mut ram = GuestRam::from_memory(memory);
    let error = ram
        .copy_from(range(0, 0x20_0000), &file(&pattern(0x20_0000)), 0)
        .unwrap_err();
    assert!(matches!(error, MemoryError::Access { .. }), "{error}");
    assert_eq!(
        error.to_string(),
        "guest memory at 0x0..0x200000 cannot be accessed"
    );
    assert!(error.source().is_some());
    // The number of written bytes is unknown, so all are marked.
    assert!(is_dirty(&ram, 0) && is_dirty(&ram, 0x1f_ffff));
}

#[test]
fn zeroing_used_memory_clears_exactly_the_range() {
    const LEN: u64 = 0x60_0000;
    let on_disk = |flags| {
        let backing = FileOffset::new(file(&pattern(usize::try_from(LEN).unwrap())), 0);
        let prot = libc::PROT_READ | libc::PROT_WRITE;
        let mapping = MmapRegion::<()>::build(Some(backing), usize::try_from(LEN).unwrap(), prot, flags);
        let region = GuestRegionMmap::new(mapping.unwrap(), GuestAddress(0)).unwrap();
        GuestRam::from_memory(Arc::new(GuestMemoryMmap::from_regions(vec![region]).unwrap()))
    };
    let own = |huge_pages| {
        RamOptions::new()
            .huge_pages(huge_pages)
            .build(&map(&[(0, LEN)]))
            .unwrap()
    };
    let anonymous = [(GuestAddress(0), usize::try_from(LEN).unwrap())];
    let rams: [(&str, GuestRam); 5] = [
        ("own, huge pages", own(HugePages::Advise)),
        ("own, small pages", own(HugePages::Avoid)),
        // In these two, dropped pages would contain the pattern again.
        ("private file", on_disk(libc::MAP_PRIVATE)),
        ("shared file", on_disk(libc::MAP_SHARED)),
        (
            "wrapped",
            GuestRam::from_memory(Arc::new(GuestMemoryMmap::from_ranges(&anonymous).unwrap())),
        ),
    ];
    for (name, mut ram) in rams {
        for (start, end) in [
            (0x123, 0x124),
            (0x1001, 0x1_2fff),
            (0x1f_f801, 0x40_0801),
            (0, LEN),
        ] {
            let bytes = pattern(usize::try_from(LEN).unwrap());
            // Every second megabyte is unchanged: fresh at first, zeroed later.
            for megabyte in (0..6u64).step_by(2) {
                let from = usize::try_from(megabyte << 20).unwrap();
                ram.write(megabyte << 20, &bytes[from..from + (1 << 20)]).unwrap();
            }
            let before = read(&ram, range(0, LEN));
            ram.zero(range(start, end)).unwrap();
            let after = read(&ram, range(0, LEN));
            let (from, to) = (usize::try_from(start).unwrap(), usize::try_from(end).unwrap());
            assert!(after[from..to].iter().all(|&byte| byte == 0), "{name} {start:#x}");
            assert!(after[..from] == before[..from], "{name} {start:#x}");
            assert!(after[to..] == before[to..], "{name} {start:#x}");
        }
    }
}

fn is_dirty(ram: &GuestRam<GuestMemoryMmap<AtomicBitmap>>, addr: u64) -> bool {
    let (region, offset) = ram.memory().to_region_addr(GuestAddress(addr)).unwrap();
    region.bitmap().dirty_at(usize::try_from(offset.0).unwrap())
}

type Access<'a> =
    &'a dyn Fn(&mut GuestRam<GuestMemoryMmap<AtomicBitmap>>, GuestRange) -> Result<(), MemoryError>;

#[test]
fn everything_that_is_written_is_marked() {
    const LEN: u64 = 0x40_0000;
    let bytes = pattern(0x30_0000);
    let on_disk = file(&bytes);
    let opaque = Opaque(&bytes);
    let own = || {
        RamOptions::new()
            .build::<AtomicBitmap>(&map(&[(0, LEN)]))
            .unwrap()
    };
    let wrapped = || {
        let ranges = [(GuestAddress(0), 0x10_1000), (GuestAddress(0x10_1000), 0x2f_f000)];
        GuestRam::from_memory(Arc::new(
            GuestMemoryMmap::<AtomicBitmap>::from_ranges(&ranges).unwrap(),
        ))
    };
    let accesses: [(&str, Access<'_>); 5] = [
        ("write", &|ram, at| {
            ram.write(at.start(), &bytes[..usize::try_from(at.len()).unwrap()])
        }),
        ("zero", &|ram, at| ram.zero(at)),
        ("bytes", &|ram, at| ram.copy_from(at, &bytes, 0)),
        ("file", &|ram, at| ram.copy_from(at, &on_disk, 0)),
        ("opaque", &|ram, at| ram.copy_from(at, &opaque, 0)),
    ];
    let page = 0x1000;
    for at in [
        range(0x1ff0, 0x2010),
        range(0x1001, 0x1_2fff),
        range(0xf_fff0, 0x3f_0010),
    ] {
        for (name, access) in accesses {
            for mut ram in [own(), wrapped()] {
                access(&mut ram, at).unwrap();
                for addr in (0..LEN).step_by(page) {
                    let written = at.overlaps(GuestRange::new(addr, u64::try_from(page).unwrap()).unwrap());
                    assert_eq!(
                        is_dirty(&ram, addr),
                        written,
                        "{name} {at}: page {addr:#x} of {ram:?}"
                    );
                }
            }
        }
    }
}

#[test]
fn regions_keep_the_mapping_and_clones_share_it() {
    let mut ram = GuestRam::new(&map(&[(0x1000, 0x2_1000), (0x10_0000, 0x20_0000)])).unwrap();
    let mut clone = ram.clone();
    clone.write(0x1004, b"shared").unwrap();
    assert_eq!(read(&ram, range(0x1004, 0x100a)), b"shared");
    ram.zero(range(0x1000, 0x2_1000)).unwrap();
    assert_eq!(read(&clone, range(0x1004, 0x100a)), [0; 6]);

    let regions: Vec<_> = ram.regions().collect();
    assert_eq!(regions[0].range(), range(0x1000, 0x2_1000));
    assert_eq!(regions[1].range(), range(0x10_0000, 0x20_0000));
    drop((ram, clone));
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    let mapped = |addr: u64| {
        maps.lines().any(|line| {
            let bounds = line
                .split_once(' ')
                .and_then(|(bounds, _)| bounds.split_once('-'));
            let (start, end) = bounds.unwrap();
            let number = |text| u64::from_str_radix(text, 16).unwrap();
            (number(start)..number(end)).contains(&addr)
        })
    };
    for region in regions {
        assert!(region.host_addr().is_multiple_of(0x1000));
        assert!(mapped(region.host_addr()) && mapped(region.host_addr() + region.range().len() - 1));
    }
}

#[test]
fn machines_that_cannot_be_mapped() {
    let error = GuestRam::new(&MemoryMap::new()).unwrap_err();
    assert_eq!(error.to_string(), "the memory map has no RAM");
    let error = GuestRam::new(&map(&[(0, 1 << 62)])).unwrap_err();
    assert!(matches!(error, RamError::Map { .. }), "{error}");
    assert!(error.source().is_some());
}

#[test]
fn other_access_options_keep_the_kind_of_the_mappings() {
    let options = AccessOptions::new().copy_threads(1);
    let ram = GuestRam::new(&map(&[(0, 0x1000)])).unwrap().with_access(options);
    assert_eq!(ram.access_options(), options.anonymous_private(true));
    let foreign = GuestRam::from_memory(Arc::clone(ram.memory())).with_access(options);
    assert_eq!(foreign.access_options(), options);
}
