//! Property test: guest memory behaves like [`SliceMemory`].

#![expect(unsafe_code, reason = "regions at host addresses are unsafe to create")]

use std::fs::File;
use std::io::Write;
use std::num::NonZero;
use std::ops::Range;
use std::ptr::NonNull;
use std::sync::{Arc, LazyLock};

use boot_core::{ByteSource, GuestMemory, GuestRange, MemoryMap, ReadError, RegionKind, SliceMemory};
use proptest::prelude::*;
use vm_memory::bitmap::{AtomicBitmap, Bitmap};
use vm_memory::{GuestAddress, GuestMemoryBackend, GuestMemoryMmap, GuestMemoryRegion};

use crate::parallel_copy::ParallelCopy;
use crate::{AccessOptions, GuestRam, HostRam, HostRegion, RamOptions, SystemCalls};

const PAGE: u64 = 0x1000;
/// The memory of every case: two stretches with a hole in between.
const LOW: Range<u64> = 0x1000..0x5000;
const HIGH: Range<u64> = 0x8000..0x2_8000;
const END: u64 = 0x2_a000;
const SOURCE_LEN: usize = 0x2_0000;

static BYTES: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let byte = |i: usize| u8::try_from((i ^ (i >> 8)) & 0xff).unwrap() | 1;
    (0..SOURCE_LEN).map(byte).collect()
});

static ON_DISK: LazyLock<File> = LazyLock::new(|| {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(&BYTES).unwrap();
    file
});

struct Opaque;

impl ByteSource for Opaque {
    fn len(&self) -> Result<u64, ReadError> {
        ByteSource::len(&*BYTES)
    }

    fn read_exact_at(&self, offset: u64, buf: &mut [u8]) -> Result<(), ReadError> {
        BYTES.read_exact_at(offset, buf)
    }
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Bytes,
    File,
    Opaque,
}

#[derive(Clone, Debug)]
enum Action {
    Write(u8),
    Zero,
    Copy(Kind, u64),
    Read,
}

/// What the memory of a case consists of.
#[derive(Clone, Copy, Debug)]
enum Memory {
    /// This crate's own mappings.
    Own,
    /// Adjacent regions of vm-memory.
    Wrapped,
    /// Adjacent regions at host addresses.
    Host,
}

type Tracked = GuestRam<GuestMemoryMmap<AtomicBitmap>>;

fn own() -> Tracked {
    let mut map = MemoryMap::new();
    for Range { start, end } in [LOW, HIGH] {
        map.insert(GuestRange::from_bounds(start, end).unwrap(), RegionKind::Ram)
            .unwrap();
    }
    RamOptions::new().build(&map).unwrap()
}

fn wrapped() -> Tracked {
    let bounds = [
        (LOW.start, 0x3000),
        (0x3000, LOW.end),
        (HIGH.start, 0x9000),
        (0x9000, HIGH.end),
    ];
    let ranges = bounds.map(|(start, end)| (GuestAddress(start), usize::try_from(end - start).unwrap()));
    GuestRam::from_memory(Arc::new(GuestMemoryMmap::from_ranges(&ranges).unwrap()))
}

/// The memory of `mapped`, which must outlive it, with the last region first.
fn host(mapped: &Tracked) -> HostRam {
    let regions = mapped.regions().map(|region| HostRegion {
        range: region.range(),
        host: NonNull::new(region.host_ptr()).unwrap(),
    });
    let mut regions: Vec<_> = regions.collect();
    regions.reverse();
    // SAFETY: the caller keeps the mappings, and a case has one thread at a time outside of copies.
    unsafe { HostRam::new(regions) }.unwrap()
}

/// Copies are not split, or into chunks of which some are smaller than a page and some threads find none.
fn access_options() -> impl Strategy<Value = AccessOptions> {
    let chunk = prop::sample::select(vec![0x800, 0x1000, 0x7123, 0x1_0000]);
    let system_calls = prop::sample::select(vec![SystemCalls::Fast, SystemCalls::PreadOnly]);
    (1..4usize, 1..0x4000u64, chunk, system_calls).prop_map(|(threads, min_len, chunk, system_calls)| {
        let mut options = AccessOptions::new().system_calls(system_calls);
        options.copy = ParallelCopy {
            threads: Some(threads),
            min_len,
            chunk_len: NonZero::new(chunk).unwrap(),
        };
        options
    })
}

fn actions() -> impl Strategy<Value = Vec<(Action, u64, u64)>> {
    let kind = prop_oneof![Just(Kind::Bytes), Just(Kind::File), Just(Kind::Opaque)];
    // Mostly inside, at times past the end of the source.
    let offset = 0..u64::try_from(SOURCE_LEN).unwrap() + 0x40;
    let action = prop_oneof![
        any::<u8>().prop_map(Action::Write),
        Just(Action::Zero),
        (kind, offset).prop_map(|(kind, offset)| Action::Copy(kind, offset)),
        Just(Action::Read),
    ];
    // Addresses near the edges count as much as all others.
    let edge = prop::sample::select(vec![LOW.start, 0x3000, LOW.end, HIGH.start, 0x9000, HIGH.end]);
    let addr = prop_oneof![0..END, (edge, 0..4u64).prop_map(|(edge, off)| edge + off - 2)];
    let len = prop_oneof![1..16u64, 1..0x3000u64, 1..0x2_0000u64];
    prop::collection::vec((action, addr, len), 1..6)
}

/// Runs one action; tells whether it succeeded, what it read, and whether memory is defined afterwards.
fn run(memory: &mut dyn GuestMemory, action: &Action, range: GuestRange) -> (bool, Vec<u8>) {
    let len = usize::try_from(range.len()).unwrap();
    let mut read = Vec::new();
    let result = match *action {
        Action::Write(byte) => memory.write(range.start(), &vec![byte; len]),
        Action::Zero => memory.zero(range),
        Action::Copy(Kind::Bytes, offset) => memory.copy_from(range, &*BYTES, offset),
        Action::Copy(Kind::File, offset) => memory.copy_from(range, &*ON_DISK, offset),
        Action::Copy(Kind::Opaque, offset) => memory.copy_from(range, &Opaque, offset),
        Action::Read => {
            read.resize(len, 0);
            memory.read(range.start(), &mut read)
        }
    };
    (result.is_ok(), read)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]

    #[test]
    fn it_behaves_as_slices_do(
        kind in prop::sample::select(vec![Memory::Own, Memory::Wrapped, Memory::Host]),
        options in access_options(),
        actions in actions(),
    ) {
        let len = |range: &Range<u64>| usize::try_from(range.end - range.start).unwrap();
        let (mut low, mut high) = (vec![0; len(&LOW)], vec![0; len(&HIGH)]);
        let mut model = SliceMemory::new();
        model.add(LOW.start, &mut low).unwrap();
        model.add(HIGH.start, &mut high).unwrap();
        let (mut tracked, mut untracked);
        let ram: &mut dyn GuestMemory = match kind {
            Memory::Own => {
                tracked = own().with_access(options.anonymous_private(true));
                &mut tracked
            }
            Memory::Wrapped => {
                tracked = wrapped().with_access(options);
                &mut tracked
            }
            Memory::Host => {
                tracked = wrapped();
                untracked = host(&tracked).with_access(options);
                &mut untracked
            }
        };
        let mut dirty = vec![false; usize::try_from(END / PAGE).unwrap()];

        for (action, addr, len) in &actions {
            let range = GuestRange::new(*addr, *len).unwrap();
            prop_assert_eq!(ram.check(range).is_ok(), model.check(range).is_ok());
            let expected = run(&mut model, action, range);
            let found = run(ram, action, range);
            prop_assert_eq!(found.0, expected.0, "{:?} at {}", action, range);
            prop_assert!(found.1 == expected.1, "{:?} at {}", action, range);
            if !expected.0 && model.check(range).is_ok() {
                // A source that failed midway leaves the memory undefined, so the case ends.
                return Ok(());
            }
            if expected.0 && !matches!(action, Action::Read) {
                let pages = range.start() / PAGE..range.end().div_ceil(PAGE);
                for page in pages {
                    dirty[usize::try_from(page).unwrap()] = true;
                }
            }
        }
        for Range { start, end } in [LOW, HIGH] {
            let stretch = GuestRange::from_bounds(start, end).unwrap();
            let mut bytes = vec![0; usize::try_from(stretch.len()).unwrap()];
            ram.read(start, &mut bytes).unwrap();
            prop_assert!(bytes == model.slice(stretch).unwrap());
        }
        if matches!(kind, Memory::Host) {
            return Ok(());
        }
        for Range { start, end } in [LOW, HIGH] {
            for page in start / PAGE..end / PAGE {
                let (region, offset) = tracked.memory().to_region_addr(GuestAddress(page * PAGE)).unwrap();
                let marked = region.bitmap().dirty_at(usize::try_from(offset.0).unwrap());
                prop_assert_eq!(marked, dirty[usize::try_from(page).unwrap()], "page {:#x}", page * PAGE);
            }
        }
    }
}
