//! Memory types of VMMs: regions of their own over vm-memory, and host addresses.

#![cfg(all(feature = "vm-memory", target_os = "linux", not(miri)))]
#![expect(unsafe_code, reason = "regions at host addresses are unsafe to create")]

#[path = "backends/mapping.rs"]
mod mapping;

use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use boot_core::{ByteSource, GuestMemory, GuestRange, MemoryError, MemoryMapError};
use guest_ram::{AccessOptions, GuestRam, HostRam, HostRegion, HostRegionError, HugePages};
use vm_memory::bitmap::{AtomicBitmap, BS, Bitmap};
use vm_memory::{
    GuestAddress, GuestMemoryBackend, GuestMemoryError, GuestMemoryRegion, GuestMemoryRegionBytes,
    GuestRegionCollection, GuestRegionMmap, GuestUsize, MemoryRegionAddress, VolatileSlice,
};

/// A region as VMMs have it: a mapping and something of their own.
struct VmmRegion {
    start: u64,
    inner: GuestRegionMmap<AtomicBitmap>,
    /// A region that is being unplugged has no memory any more.
    is_plugged: AtomicBool,
}

impl VmmRegion {
    fn new(start: u64, len: usize) -> Self {
        Self {
            start,
            inner: GuestRegionMmap::from_range(GuestAddress(0), len, None).unwrap(),
            is_plugged: AtomicBool::new(true),
        }
    }
}

impl GuestMemoryRegion for VmmRegion {
    type B = AtomicBitmap;

    fn len(&self) -> GuestUsize {
        self.inner.len()
    }

    fn start_addr(&self) -> GuestAddress {
        GuestAddress(self.start)
    }

    fn bitmap(&self) -> BS<'_, AtomicBitmap> {
        self.inner.bitmap()
    }

    fn get_slice(
        &self,
        offset: MemoryRegionAddress,
        count: usize,
    ) -> Result<VolatileSlice<'_, BS<'_, AtomicBitmap>>, GuestMemoryError> {
        if !self.is_plugged.load(Ordering::Relaxed) {
            return Err(GuestMemoryError::HostAddressNotAvailable);
        }
        self.inner.get_slice(offset, count)
    }
}

impl GuestMemoryRegionBytes for VmmRegion {}

fn range(start: u64, end: u64) -> GuestRange {
    GuestRange::from_bounds(start, end).unwrap()
}

fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|at| u8::try_from(at % 251).unwrap() + 1).collect()
}

fn file(bytes: &[u8]) -> std::fs::File {
    let mut file = tempfile::tempfile().unwrap();
    std::io::Write::write_all(&mut file, bytes).unwrap();
    file
}

fn read(memory: &dyn GuestMemory, range: GuestRange) -> Vec<u8> {
    let mut bytes = vec![0; usize::try_from(range.len()).unwrap()];
    memory.read(range.start(), &mut bytes).unwrap();
    bytes
}

#[test]
fn regions_of_the_vmm_are_loaded_and_marked() {
    let regions = vec![
        VmmRegion::new(0, 0x80_0000),
        VmmRegion::new(0x80_0000, 0x80_0000),
        VmmRegion::new(0x1_0000_0000, 0x1000),
    ];
    let memory = Arc::new(GuestRegionCollection::from_regions(regions).unwrap());
    let map = guest_ram::memory_map(&*memory).unwrap();
    let ram: Vec<_> = map.regions().iter().map(|region| region.range).collect();
    assert_eq!(ram, [range(0, 0x100_0000), range(0x1_0000_0000, 0x1_0000_1000)]);

    let mut ram =
        GuestRam::from_memory(Arc::clone(&memory)).with_access(AccessOptions::new().copy_threads(3));
    let bytes = pattern(0x60_0000);
    let target = range(0x50_0800, 0xb0_0800);
    for source in [&bytes as &dyn ByteSource, &file(&bytes)] {
        ram.copy_from(target, source, 0).unwrap();
        assert!(read(&ram, target) == bytes);
        ram.zero(target).unwrap();
    }
    let is_dirty = |addr| {
        let (region, offset) = memory.to_region_addr(GuestAddress(addr)).unwrap();
        region.bitmap().dirty_at(usize::try_from(offset.0).unwrap())
    };
    assert!(is_dirty(0x50_0000) && is_dirty(0x7f_f000) && is_dirty(0x80_0000) && is_dirty(0xb0_0000));
    assert!(!is_dirty(0x4f_f000) && !is_dirty(0xb0_1000));
    ram.advise_huge_pages(HugePages::Advise);
}

#[test]
fn a_region_without_memory_is_an_error_before_anything_is_written() {
    let regions = vec![VmmRegion::new(0, 0x1000), VmmRegion::new(0x1000, 0x1000)];
    let memory = Arc::new(GuestRegionCollection::from_regions(regions).unwrap());
    let mut ram = GuestRam::from_memory(Arc::clone(&memory));
    ram.write(0xff0, &[1; 0x20]).unwrap();
    let second = memory.find_region(GuestAddress(0x1000)).unwrap();
    second.is_plugged.store(false, Ordering::Relaxed);
    let both = range(0xff0, 0x1010);
    for result in [
        ram.check(both),
        ram.write(both.start(), &[2; 0x20]),
        ram.zero(both),
        ram.copy_from(both, &vec![2; 0x20], 0),
    ] {
        assert!(
            matches!(result, Err(MemoryError::NotBacked(found)) if found == both),
            "{result:?}"
        );
    }
    assert_eq!(read(&ram, range(0xff0, 0x1000)), [1; 0x10]);
}

#[test]
fn a_region_at_the_last_address_has_no_map() {
    let regions = vec![VmmRegion::new(u64::MAX - 0xfff, 0x1000)];
    let memory = GuestRegionCollection::from_regions(regions).unwrap();
    let result = guest_ram::memory_map(&memory);
    assert_eq!(result, Err(MemoryMapError::TooLarge { len: 0x1000 }));
}

/// Regions at `(start, end)`, all in one buffer from its start on.
fn host_regions(buffer: &mut [u8], bounds: &[(u64, u64)]) -> Result<HostRam, HostRegionError> {
    let mut offset = 0;
    let regions = bounds.iter().map(|&(start, end)| {
        let range = range(start, end);
        let len = usize::try_from(range.len()).unwrap();
        let host = NonNull::new(buffer[offset..offset + len].as_mut_ptr()).unwrap();
        offset += len;
        HostRegion { range, host }
    });
    let regions: Vec<_> = regions.collect();
    // SAFETY: the callers do not use the buffer before the last access to the memory.
    unsafe { HostRam::new(regions) }
}

#[test]
fn host_regions_are_sorted_and_joined() {
    let mut buffer = vec![0; 0x4000];
    let bounds = [
        (0x9000, 0x9800),
        (0x1000, 0x2000),
        (0x5000, 0x5000),
        (0x2000, 0x2800),
    ];
    let mut ram = host_regions(&mut buffer, &bounds).unwrap();
    let found: Vec<_> = ram.regions().iter().map(|region| region.range).collect();
    assert_eq!(
        found,
        [
            range(0x1000, 0x2000),
            range(0x2000, 0x2800),
            range(0x9000, 0x9800)
        ]
    );
    let map = ram.memory_map();
    let map: Vec<_> = map.regions().iter().map(|region| region.range).collect();
    assert_eq!(map, [range(0x1000, 0x2800), range(0x9000, 0x9800)]);

    for (start, end, is_backed) in [
        (0x1000, 0x2800, true),
        (0x1fff, 0x2001, true),
        (0x9000, 0x9800, true),
        (0x97ff, 0x9800, true),
        (0xfff, 0x1001, false),
        (0x27ff, 0x2801, false),
        (0x27ff, 0x9001, false),
        (0x3000, 0x3001, false),
        (0x97ff, 0x9801, false),
        (0x5000, 0x5000, true),
    ] {
        assert_eq!(
            ram.check(range(start, end)).is_ok(),
            is_backed,
            "{start:#x}..{end:#x}"
        );
    }
    ram.write(0x1ffe, b"boot").unwrap();
    ram.write(0x9000, b"end").unwrap();
    ram.advise_huge_pages(HugePages::HostDefault);
    drop(ram);
    assert_eq!(
        (&buffer[..3], &buffer[0x17fe..0x1802]),
        (&b"end"[..], &b"boot"[..])
    );
}

#[test]
fn regions_that_are_no_memory_are_refused() {
    let mut buffer = vec![0; 0x3000];
    let result = host_regions(&mut buffer, &[(0x2000, 0x3000), (0x1000, 0x2001)]);
    let overlap = HostRegionError::Overlap {
        first: range(0x1000, 0x2001),
        second: range(0x2000, 0x3000),
    };
    assert_eq!(result.unwrap_err(), overlap);

    let check = |addr: usize, len: u64| {
        let host = NonNull::new(std::ptr::without_provenance_mut(addr)).unwrap();
        let range = range(0, len);
        // SAFETY: the region is refused, so nothing is accessed.
        let result = unsafe { HostRam::new([HostRegion { range, host }]) };
        assert_eq!(
            result.unwrap_err(),
            HostRegionError::HostRange { range, host: addr }
        );
    };
    check(usize::MAX - 0xfff, 0x1000);
    check(0x1000, 1 << 63);
}

#[test]
fn clones_of_host_memory_work_on_other_threads() {
    let mut buffer = vec![0; 0x2000];
    let ram = host_regions(&mut buffer, &[(0, 0x1000), (0x1000, 0x2000)]).unwrap();
    std::thread::scope(|scope| {
        for half in [0u8, 1] {
            let mut ram = ram.clone();
            scope.spawn(move || ram.write(u64::from(half) * 0x1000, &[half + 1; 0x1000]).unwrap());
        }
    });
    drop(ram);
    assert!(buffer[..0x1000].iter().all(|&byte| byte == 1));
    assert!(buffer[0x1000..].iter().all(|&byte| byte == 2));
}
