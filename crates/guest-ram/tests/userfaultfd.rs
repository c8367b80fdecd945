//! Copies with `AccessOptions::userfaultfd` leave the same memory as others.

#![cfg(all(feature = "vm-memory", target_os = "linux", not(miri)))]

#[path = "shared/content.rs"]
mod content;

use std::fs;
use std::os::unix::fs::FileExt;

use boot_core::{ByteSource, GuestMemory, GuestRange, MemoryMap, RegionKind};
use content::{file, pattern};
use guest_ram::{AccessOptions, GuestRam, HugePages, RamOptions};
use vm_memory::bitmap::{AtomicBitmap, Bitmap as _};
use vm_memory::{FileOffset, GuestAddress, GuestMemoryBackend as _, GuestMemoryMmap, GuestMemoryRegion as _};

const MIB: u64 = 1 << 20;

const RAM: u64 = 16 * MIB;

const MIB_LEN: usize = 1 << 20;

fn range(start: u64, len: u64) -> GuestRange {
    GuestRange::new(start, len).unwrap()
}

fn memory_map() -> MemoryMap {
    let mut map = MemoryMap::new();
    map.insert(range(0, RAM), RegionKind::Ram).unwrap();
    map
}

fn ram(huge_pages: HugePages) -> GuestRam {
    let options = RamOptions::new().huge_pages(huge_pages);
    options.build(&memory_map()).unwrap()
}

fn options(threads: usize) -> AccessOptions {
    AccessOptions::new()
        .anonymous_private(true)
        .copy_threads(threads)
        .userfaultfd(true)
}

fn read_all(ram: &impl GuestMemory) -> Vec<u8> {
    let mut bytes = vec![0; usize::try_from(RAM).unwrap()];
    ram.read(0, &mut bytes).unwrap();
    bytes
}

/// Copies to memory where these pages were written before.
fn copied(
    mut ram: GuestRam,
    source: &dyn ByteSource,
    (target, offset): (GuestRange, u64),
    written: &[u64],
) -> Vec<u8> {
    for page in written {
        ram.write(page + 0x10, &[0xee; 0x20]).unwrap();
    }
    ram.copy_from(target, source, offset).unwrap();
    read_all(&ram)
}

#[test]
fn every_copy_is_like_an_ordinary_one() {
    let bytes = pattern(12 * MIB_LEN);
    let on_disk = file(&bytes);
    let sources: [&dyn ByteSource; 2] = [&bytes, &on_disk];
    for huge_pages in [HugePages::Avoid, HugePages::Advise] {
        for (start, len, offset) in [
            (MIB, 8 * MIB, 0),
            (MIB, 8 * MIB, 3),
            (2 * MIB + 0x1fff, 9 * MIB + 5, 0x1234),
            (0x40_0001, 2 * MIB, 12 * MIB - 2 * MIB),
            (2 * MIB + 0x1fff, 3 * MIB, 0),
            (4 * MIB, 7 * MIB, 5),
            // Short.
            (0x5000, MIB - 1, 0x1000),
        ] {
            let target = range(start, len);
            // Some pages, such as the first of a huge one, and pages at the ends of parts.
            for written in [
                &[][..],
                &[0x3000, 0x5f_f000, 0x60_0000, 0x61_0000, 0x61_1000, 0xa0_0000],
            ] {
                for (index, source) in sources.into_iter().enumerate() {
                    let expected = copied(ram(huge_pages), source, (target, offset), written);
                    for threads in [1, 3] {
                        let made = ram(huge_pages).with_access(options(threads));
                        let found = copied(made, source, (target, offset), written);
                        assert!(
                            found == expected,
                            "{target}, {offset:#x}, source {index}, {threads} threads, {huge_pages:?}, {written:x?}"
                        );
                    }
                }
            }
        }
    }
}

#[test]
fn memory_of_a_file_is_filled_too() {
    let bytes = pattern(8 * MIB_LEN);
    let source = file(&bytes);
    let backing = file(&[]);
    backing.set_len(RAM).unwrap();
    let regions = [(
        GuestAddress(0),
        usize::try_from(RAM).unwrap(),
        Some(FileOffset::new(backing.try_clone().unwrap(), 0)),
    )];
    let memory = GuestMemoryMmap::<()>::from_ranges_with_files(regions).unwrap();
    let options = AccessOptions::new().copy_threads(2).userfaultfd(true);
    let mut ram = GuestRam::from_memory(memory.into()).with_access(options);
    let len = 7 * MIB;
    ram.copy_from(range(MIB, len), &source, MIB).unwrap();
    let mut found = vec![0; usize::try_from(len).unwrap()];
    FileExt::read_exact_at(&backing, &mut found, MIB).unwrap();
    assert!(found == bytes[MIB_LEN..]);
}

#[test]
fn a_short_file_is_the_same_error() {
    let source = file(&pattern(6 * MIB_LEN));
    for (start, offset, len) in [
        (MIB, 0, 8 * MIB),
        (2 * MIB, 0, 8 * MIB),
        (MIB, 5 * MIB, 2 * MIB),
        (MIB, 7 * MIB, 2 * MIB),
        (2 * MIB, 0, 6 * MIB + 1),
    ] {
        let target = range(start, len);
        let error = |options| {
            let mut ram = ram(HugePages::Avoid).with_access(options);
            ram.copy_from(target, &source, offset).unwrap_err().to_string()
        };
        let expected = error(AccessOptions::new().copy_threads(1));
        assert_eq!(error(options(1)), expected, "{target}, {offset:#x}");
    }
}

/// The file is shortened and has its length again while it is copied: each copy has its bytes, zeros in place of them, or an error.
#[test]
fn a_file_that_is_cut_meanwhile_never_kills_the_process() {
    let bytes = pattern(8 * MIB_LEN);
    let source = file(&bytes);
    std::thread::scope(|scope| {
        let cutter = scope.spawn(|| {
            for round in 0..400 {
                source.set_len(round % 7 * MIB).unwrap();
                source.write_all_at(&bytes, 0).unwrap();
            }
        });
        let mut errors = 0;
        while !cutter.is_finished() {
            let mut ram = ram(HugePages::Avoid).with_access(options(2));
            match ram.copy_from(range(MIB, 8 * MIB), &source, 0) {
                Ok(()) => {
                    let found = read_all(&ram);
                    let found = found.iter().skip(MIB_LEN).zip(&bytes);
                    for (at, (found, expected)) in found.enumerate() {
                        assert!(
                            found == expected || *found == 0,
                            "{at:#x}: {found:#x}, not {expected:#x}"
                        );
                    }
                }
                Err(_) => errors += 1,
            }
        }
        println!("{errors} copies failed");
    });
}

#[test]
fn everything_that_is_made_is_marked() {
    let regions = [(GuestAddress(0), usize::try_from(RAM).unwrap())];
    let memory = GuestMemoryMmap::<AtomicBitmap>::from_ranges(&regions).unwrap();
    let mut ram = GuestRam::from_memory(memory.into()).with_access(AccessOptions::new().userfaultfd(true));
    ram.advise_huge_pages(HugePages::Avoid);
    let bytes = pattern(4 * MIB_LEN);
    ram.copy_from(range(2 * MIB, 4 * MIB), &bytes, 0).unwrap();
    let region = ram.memory().iter().next().unwrap();
    for page in 0..RAM / 0x1000 {
        let addr = page * 0x1000;
        let expected = (2 * MIB..6 * MIB).contains(&addr);
        let found = region.bitmap().dirty_at(usize::try_from(addr).unwrap());
        assert_eq!(found, expected, "{addr:#x}");
    }
}

/// Descriptors that are open.
fn descriptors() -> usize {
    fs::read_dir("/proc/self/fd").unwrap().count()
}

#[test]
fn the_memory_is_ordinary_afterwards() {
    let bytes = pattern(4 * MIB_LEN);
    let source = file(&bytes);
    let before = descriptors();
    for _ in 0..200 {
        let mut ram = ram(HugePages::Avoid).with_access(options(1));
        ram.copy_from(range(MIB, 4 * MIB), &source, 0).unwrap();
        // Pages beside those that were made, by a thread and by a system call.
        ram.write(6 * MIB, b"after").unwrap();
        ram.copy_from(range(8 * MIB, 0x2000), &source, 0).unwrap();
        let found = read_all(&ram);
        assert_eq!(&found[6 << 20..][..5], b"after");
        assert_eq!(&found[8 << 20..][..0x2000], &bytes[..0x2000]);
    }
    // Other tests of this process open files meanwhile, but not so many.
    assert!(descriptors() < before + 100);
}
