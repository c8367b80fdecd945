//! Guest memory between pages without access.

#![expect(
    unsafe_code,
    reason = "mappings at known host addresses, and pages without access"
)]

use std::ffi::c_void;
use std::ptr::{self, NonNull};
use std::slice;

use boot_core::{GuestRange, MemoryMap};
use guest_ram::{HostRam, HostRegion};

/// Length of the memory without access on both sides of each region.
const GUARD: usize = 16 << 20;
/// Length of a page of the host. Memory is compared in these units, so that a host with larger pages needs another value.
pub(crate) const PAGE: u64 = 0x1000;

/// RAM whose pages come into being with the first access.
pub(crate) struct Guarded {
    regions: Vec<HostRegion>,
}

fn size(region: &HostRegion) -> usize {
    usize::try_from(region.range.len()).unwrap()
}

impl Guarded {
    /// The RAM of a machine with this memory map.
    pub(crate) fn new(map: &MemoryMap) -> Self {
        let regions = map.ram().map(|range| {
            let len = usize::try_from(range.len()).unwrap();
            let (kind, none) = (
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE,
                libc::PROT_NONE,
            );
            // SAFETY: a new mapping at an address of the kernel's choice.
            let start = unsafe { libc::mmap(ptr::null_mut(), len + 2 * GUARD, none, kind, -1, 0) };
            assert_ne!(start, libc::MAP_FAILED);
            // SAFETY: the offset is inside of the mapping.
            let host = unsafe { start.cast::<u8>().add(GUARD) };
            // SAFETY: the pages are those of the mapping, which nobody else has.
            let result = unsafe { libc::mprotect(host.cast(), len, libc::PROT_READ | libc::PROT_WRITE) };
            assert_eq!(result, 0);
            // SAFETY: as for `mprotect`. Neighbours of a page that is written to must not come into being with it.
            let result = unsafe { libc::madvise(host.cast(), len, libc::MADV_NOHUGEPAGE) };
            assert_eq!(result, 0);
            let host = NonNull::new(host).unwrap();
            HostRegion { range, host }
        });
        Self {
            regions: regions.collect(),
        }
    }

    /// The memory as loads see it.
    pub(crate) fn ram(&self) -> HostRam {
        // SAFETY: the mappings exist until the end of the process, as `Guarded` has no `drop`; no references to their bytes live across calls of the
        // methods below, and the process has one thread beside those of the loads.
        unsafe { HostRam::new(self.regions.clone()) }.unwrap()
    }

    /// Drops all pages.
    pub(crate) fn clear(&mut self) {
        for region in &self.regions {
            let start = region.host.as_ptr().cast::<c_void>();
            // SAFETY: the pages are those of the mapping, and there are no references to them.
            let result = unsafe { libc::madvise(start, size(region), libc::MADV_DONTNEED) };
            assert_eq!(result, 0);
        }
    }

    /// The guest addresses of pages that exist.
    pub(crate) fn pages(&self) -> Vec<u64> {
        let mut pages = Vec::new();
        for region in &self.regions {
            let mut exists = vec![0_u8; size(region).div_ceil(0x1000)];
            let start = region.host.as_ptr().cast::<c_void>();
            // SAFETY: the vector has a byte for each page of the mapping.
            let result = unsafe { libc::mincore(start, size(region), exists.as_mut_ptr().cast()) };
            assert_eq!(result, 0);
            let addresses = (region.range.start()..).step_by(0x1000);
            pages.extend(
                exists
                    .iter()
                    .zip(addresses)
                    .filter(|(byte, _)| **byte & 1 != 0)
                    .map(|(_, at)| at),
            );
        }
        pages
    }

    /// The bytes of a range of RAM.
    pub(crate) fn bytes(&self, range: GuestRange) -> &[u8] {
        let (start, len) = self.host(range);
        // SAFETY: `host` checked that the bytes are in the mapping; writes need `&mut self`, or a `HostRam` that is not used meanwhile.
        unsafe { slice::from_raw_parts(start, len) }
    }

    /// Fills a range of RAM.
    pub(crate) fn fill(&mut self, range: GuestRange, byte: u8) {
        let (start, len) = self.host(range);
        // SAFETY: as for `bytes`.
        unsafe { slice::from_raw_parts_mut(start, len) }.fill(byte);
    }

    /// Writes to the byte behind the first region, which ends the process.
    pub(crate) fn touch_guard(&self) {
        let region = &self.regions[0];
        // SAFETY: the guard is in the same mapping.
        let guard = unsafe { region.host.as_ptr().add(size(region)) };
        // SAFETY: nobody else has the page, and the write faults.
        unsafe { guard.write_volatile(1) };
    }

    fn host(&self, range: GuestRange) -> (*mut u8, usize) {
        let region = self
            .regions
            .iter()
            .find(|region| region.range.contains(range))
            .unwrap();
        let offset = usize::try_from(range.start() - region.range.start()).unwrap();
        // SAFETY: the range is in the region, which is one mapping.
        let start = unsafe { region.host.as_ptr().add(offset) };
        (start, usize::try_from(range.len()).unwrap())
    }
}

/// An unnamed file with these bytes.
pub(crate) fn file(bytes: &[u8]) -> std::fs::File {
    use std::io::Write as _;
    use std::os::fd::FromRawFd as _;
    // SAFETY: the name ends with NUL.
    let fd = unsafe { libc::memfd_create(c"hostile".as_ptr(), libc::MFD_CLOEXEC) };
    assert!(fd >= 0);
    // SAFETY: a new descriptor that nobody else has.
    let mut file = unsafe { std::fs::File::from_raw_fd(fd) };
    file.write_all(bytes).unwrap();
    file
}
