//! Mappings whose host addresses are congruent to guest physical addresses modulo the size of a huge page.
//!
//! vm-memory leaves the address of a mapping to the kernel. Linux uses the first gap between mappings that is large enough, from the
//! top or from the bottom of the address space; since 6.7 it aligns mappings whose length is a multiple of 2 MiB, if it can.
//! So a gap of exactly the length, at a suitable address, is offered to it; a mapping in an earlier gap is kept meanwhile, so that
//! the next one is elsewhere.
#![expect(unsafe_code, reason = "reserves addresses, and releases them")]

use std::ptr::{self, NonNull};

use boot_core::GuestRange;
use vm_memory::bitmap::NewBitmap;
use vm_memory::mmap::MmapRegionError;
use vm_memory::{MmapRegion, VolatileMemory as _};

use crate::huge_pages::{HUGE_PAGE_LEN, distance};
use crate::{HugePages, RamError, pages};

/// Largest number of mappings at unsuitable addresses.
const MAX_MISPLACED: usize = 4;

/// Calls `map`, which maps `len` bytes and returns the mapping with its address, until that is congruent to `guest` modulo the
/// size of a huge page. All other mappings are dropped.
///
/// If that does not succeed, because other threads map memory at the same time or the host refuses another mapping, the result is
/// the last mapping: its address costs speed only.
pub(crate) fn map<M, E>(
    guest: u64,
    len: usize,
    mut map: impl FnMut() -> Result<(M, usize), E>,
) -> Result<M, E> {
    let (mut mapping, mut host) = map()?;
    // A smaller mapping has no huge page.
    if len < HUGE_PAGE_LEN {
        return Ok(mapping);
    }
    let mut misplaced = Vec::new();
    while distance(guest, host) != 0 && misplaced.len() < MAX_MISPLACED {
        let gap = Gap::new(guest, len);
        let Ok(next) = map() else {
            break;
        };
        drop(gap);
        misplaced.push(std::mem::replace(&mut mapping, next.0));
        host = next.1;
    }
    Ok(mapping)
}

/// The mapping that `map` makes of the length of `range`, at such an address, with advice about huge pages.
pub(crate) fn map_advised<B: NewBitmap>(
    range: GuestRange,
    huge_pages: HugePages,
    map: impl Fn(usize) -> Result<MmapRegion<B>, MmapRegionError>,
) -> Result<MmapRegion<B>, RamError> {
    let Ok(len) = usize::try_from(range.len()) else {
        return Err(RamError::TooLarge(range));
    };
    let map = || {
        let mapping = map(len)?;
        let host = mapping.as_ptr().addr();
        Ok((mapping, host))
    };
    let mapping = self::map(range.start(), len, map).map_err(|source| RamError::Map { range, source })?;
    let slice = mapping
        .get_slice(0, len)
        .map_err(|source| RamError::Mapping { range, source })?;
    pages::advise_huge(&slice, huge_pages);
    drop(slice);
    Ok(mapping)
}

/// Reserved addresses before and after a gap of the address space. They are released when the value is dropped.
struct Gap(#[expect(dead_code, reason = "for its drop")] [Reserved; 2]);

impl Gap {
    /// A gap of `len` bytes, rounded up to whole pages, at an address that is congruent to `guest`. `None` if the host refuses the
    /// reservation.
    fn new(guest: u64, len: usize) -> Option<Self> {
        let len = len.checked_next_multiple_of(pages::size())?;
        let all = Reserved::new(len.checked_add(HUGE_PAGE_LEN)?)?;
        // The distance is a multiple of the page size, as both addresses are.
        let distance = distance(guest, all.start.addr().get());
        let (before, rest) = all.split_at(distance);
        let (gap, after) = rest.split_at(len);
        drop(gap);
        Some(Self([before, after]))
    }
}

/// Addresses without accessible memory, of this value's own.
struct Reserved {
    start: NonNull<u8>,
    len: usize,
}

impl Reserved {
    fn new(len: usize) -> Option<Self> {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        // SAFETY: without MAP_FIXED, the kernel chooses addresses that are not in use, so no other memory changes.
        let start = unsafe { libc::mmap(ptr::null_mut(), len, libc::PROT_NONE, flags, -1, 0) };
        if start == libc::MAP_FAILED {
            return None;
        }
        let start = NonNull::new(start.cast())?;
        Some(Self { start, len })
    }

    /// The first `len` bytes, a multiple of the page size, and the rest.
    fn split_at(self, len: usize) -> (Self, Self) {
        let len = len.min(self.len);
        let whole = std::mem::ManuallyDrop::new(self);
        let first = Self {
            start: whole.start,
            len,
        };
        let rest = Self {
            // SAFETY: `len` is at most the length of the mapping.
            start: unsafe { whole.start.add(len) },
            len: whole.len - len,
        };
        (first, rest)
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        if self.len > 0 {
            // SAFETY: the addresses are a part of a mapping of `new`, and `split_at` gives each to one value only. Nothing refers
            // to them: they are not accessible.
            unsafe { libc::munmap(self.start.as_ptr().cast(), self.len) };
        }
    }
}

#[cfg(all(test, target_os = "linux", not(miri)))]
mod tests {
    use super::*;

    fn region(len: usize) -> Result<(MmapRegion, usize), MmapRegionError> {
        let region = MmapRegion::new(len)?;
        let host = region.as_ptr().addr();
        Ok((region, host))
    }

    /// Lengths that the kernel does not align, several at once, so that there are gaps between them.
    #[test]
    fn mappings_have_the_offset_of_the_guest_in_a_huge_page() {
        let mut all = Vec::new();
        for guest in [0, 0x1000, 0x10_0000, 0x1f_f000, 0x4000_3000] {
            for len in [HUGE_PAGE_LEN + 0x1000, 2 * HUGE_PAGE_LEN - 0x5000, 0x1000_1000] {
                let region = map(guest, len, || region(len)).unwrap();
                assert_eq!(
                    distance(guest, region.as_ptr().addr()),
                    0,
                    "{len:#x} for {guest:#x}"
                );
                all.push(region);
            }
        }
    }

    #[test]
    fn a_mapping_at_another_address_is_better_than_none() {
        let check = |results: &[Option<usize>], expected: Option<usize>| {
            let mut results = results.iter();
            let mut calls = 0;
            let found = map(0x1000, HUGE_PAGE_LEN, || {
                calls += 1;
                let host = *results.next().unwrap_or(&Some(0x5000));
                host.map(|host| (host, host)).ok_or(())
            });
            assert_eq!(found.ok(), expected);
            calls
        };
        assert_eq!(check(&[Some(0x1000)], Some(0x1000)), 1);
        assert_eq!(check(&[Some(0x2000), Some(0x7020_1000)], Some(0x7020_1000)), 2);
        assert_eq!(check(&[Some(0x2000), Some(0x3000), None], Some(0x3000)), 3);
        assert_eq!(check(&[None], None), 1);
        assert_eq!(check(&[], Some(0x5000)), MAX_MISPLACED + 1);
        // No huge page fits.
        let small = map(0x1000, HUGE_PAGE_LEN - 1, || Ok::<_, ()>((7, 0x2000)));
        assert_eq!(small, Ok(7));
    }

    /// Length in bytes of what is mapped without access, as reservations are.
    fn reserved() -> usize {
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        let lines = maps
            .lines()
            .filter(|line| line.contains(" ---p 00000000 00:00 0"));
        let bounds = lines.map(|line| line.split([' ', '-']).take(2));
        bounds
            .map(|bounds| {
                let mut bounds = bounds.map(|bound| usize::from_str_radix(bound, 16).unwrap());
                let start = bounds.next().unwrap();
                bounds.next().unwrap() - start
            })
            .sum()
    }

    /// A reservation of more than all other threads reserve at the same time.
    #[test]
    fn reservations_end_with_the_gap() {
        const LEN: usize = 1 << 36;
        let before = reserved();
        let all = Reserved::new(LEN).unwrap();
        assert!(reserved() - before > LEN / 2);
        let (first, second) = all.split_at(LEN / 4);
        drop(second);
        assert!(reserved() - before < LEN / 2);
        drop(first);
        assert!(reserved().abs_diff(before) < LEN / 8);
        drop(Gap::new(0x1000, LEN).unwrap());
        assert!(reserved().abs_diff(before) < LEN / 8);
        assert!(Gap::new(0, usize::MAX).is_none());
    }
}
