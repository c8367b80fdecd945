//! Guest memory at host addresses, for a VMM with a memory type of its own.

#![expect(unsafe_code, reason = "the VMM vouches for the memory at the addresses")]

use std::ptr::NonNull;
use std::sync::Arc;

use boot_core::{ByteSource, GuestMemory, GuestRange, MemoryError, MemoryMap, RegionKind};

use crate::access::{Access, Backend};
use crate::access_options::AccessOptions;
use crate::huge_pages::{HUGE_PAGE_LEN, distance};
use crate::slice::RawSlice;
use crate::{HugePages, pages};

/// A region of guest memory at a host address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct HostRegion {
    /// Guest physical addresses.
    pub range: GuestRange,
    /// Address in this process of the first of `range.len()` bytes. It may have any alignment.
    pub host: NonNull<u8>,
}

impl HostRegion {
    /// Number of bytes that a mapping for [`congruent`](Self::congruent) needs in addition to the region: the size of a huge page.
    pub const SURPLUS: usize = HUGE_PAGE_LEN;

    /// The region at the first address in the `len` bytes from `mapping` on that is congruent to its guest physical address modulo
    /// 2 MiB. `None` if it does not fit there; it does with [`SURPLUS`](Self::SURPLUS) bytes more than the region.
    ///
    /// Only with such an address can a huge page of the host back a huge page of the guest. The caller may unmap the rest.
    ///
    /// ```
    /// use std::ptr::NonNull;
    ///
    /// use boot_core::GuestRange;
    /// use guest_ram::HostRegion;
    ///
    /// let range = GuestRange::new(0x10_0000, 0x40_0000).unwrap();
    /// // The VMM's mapping; here a vector.
    /// let mut mapping = vec![0u8; 0x40_0000 + HostRegion::SURPLUS];
    /// let start = NonNull::new(mapping.as_mut_ptr()).unwrap();
    /// let region = HostRegion::congruent(range, start, mapping.len()).unwrap();
    /// assert_eq!(region.host.addr().get() % 0x20_0000, 0x10_0000);
    /// ```
    #[must_use]
    pub fn congruent(range: GuestRange, mapping: NonNull<u8>, len: usize) -> Option<Self> {
        let distance = distance(range.start(), mapping.addr().get());
        let rest = len.checked_sub(distance)?;
        let fits = usize::try_from(range.len()).is_ok_and(|len| len <= rest);
        let host = mapping.addr().checked_add(distance).filter(|_| fits)?;
        Some(Self {
            range,
            host: mapping.with_addr(host),
        })
    }

    /// The bytes of the region that are in `range`.
    ///
    /// # Safety
    ///
    /// The region is one of a [`HostRam`] that exists during the lifetime of the slice.
    unsafe fn part(&self, range: GuestRange) -> RawSlice<'_> {
        let part = range.intersection(self.range).unwrap_or(GuestRange::EMPTY);
        let offset = part.start().saturating_sub(self.range.start());
        // `HostRam::new` checked that the length of the region fits `usize`.
        let [offset, len] = [offset, part.len()].map(|value| usize::try_from(value).unwrap_or_default());
        // SAFETY: the intersection is inside of the region, whose bytes are in one allocation, as `HostRam::new` requires.
        let host = unsafe { self.host.as_ptr().add(offset) };
        // SAFETY: `HostRam::new` requires it of the region, for as long as the `HostRam` exists.
        unsafe { RawSlice::new(host, len) }
    }
}

/// Why regions are not guest memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HostRegionError {
    /// Two regions have a guest physical address in common.
    #[error("the regions of guest memory at {first} and {second} overlap")]
    Overlap {
        /// The region that starts first.
        first: GuestRange,
        /// The other one.
        second: GuestRange,
    },
    /// The region ends past the last address of the process.
    #[error("the region of guest memory at {range} does not fit the process at host address {host:#x}")]
    HostRange {
        /// The region.
        range: GuestRange,
        /// Its host address.
        host: usize,
    },
}

/// Guest memory at host addresses, for a VMM that does not use vm-memory.
///
/// It loads a [`BootPlan`](boot_core::BootPlan) as [`GuestRam`](crate::GuestRam) does: files are read into guest memory, pages are
/// populated in large steps, and large copies use several threads. There is no dirty bitmap: a VMM that tracks writes marks the
/// loads of the plan itself. Clones share the memory.
///
/// ```
/// use std::ptr::NonNull;
///
/// use boot_core::{GuestMemory, GuestRange};
/// use guest_ram::{HostRam, HostRegion};
///
/// // The VMM's mapping; here a vector.
/// let mut mapping = vec![0u8; 0x1000];
/// let range = GuestRange::new(0x8000_0000, 0x1000).unwrap();
/// let host = NonNull::new(mapping.as_mut_ptr()).unwrap();
/// // SAFETY: the vector outlives `ram` and is not used before `ram` is dropped.
/// let mut ram = unsafe { HostRam::new([HostRegion { range, host }]) }?;
/// ram.write(0x8000_0010, b"boot")?;
/// drop(ram);
/// assert_eq!(&mapping[0x10..0x14], b"boot");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct HostRam {
    /// Sorted, without empty regions.
    regions: Arc<[HostRegion]>,
    options: AccessOptions,
}

// SAFETY: the addresses are not tied to a thread, and `HostRam::new` demands that the memory stays valid for all clones,
// wherever they are. Concurrent accesses are covered by the same contract.
unsafe impl Send for HostRam {}

// SAFETY: as for `Send`. Methods with `&self` only read the list of regions; accesses to the memory follow the contract.
unsafe impl Sync for HostRam {}

impl HostRam {
    /// Guest memory in these regions, in any order.
    ///
    /// # Errors
    ///
    /// [`HostRegionError`] if regions overlap in guest physical memory, or one does not fit the address space of the process.
    ///
    /// # Safety
    ///
    /// Until the last clone of the value is dropped, for every region:
    ///
    /// - the `range.len()` bytes at `host` are mapped, readable and writable, in one allocation;
    /// - no Rust reference to any of them exists;
    /// - while a method runs that accesses some of these bytes, no other thread of this process accesses the same bytes,
    ///   except with system calls.
    ///
    /// Others may read and write the bytes at any time: vCPUs of the guest, devices, other processes with the same
    /// memory, and the kernel. The bytes of a load are then a mixture of both writes, but nothing in this process depends on
    /// their values.
    pub unsafe fn new(regions: impl IntoIterator<Item = HostRegion>) -> Result<Self, HostRegionError> {
        let mut regions: Vec<_> = regions
            .into_iter()
            .filter(|region| !region.range.is_empty())
            .collect();
        regions.sort_unstable_by_key(|region| region.range.start());
        for region in &regions {
            let host = region.host.addr().get();
            let len = usize::try_from(region.range.len()).ok();
            // No object is larger than `isize::MAX`.
            let len = len.filter(|&len| isize::try_from(len).is_ok());
            if len.and_then(|len| host.checked_add(len)).is_none() {
                let range = region.range;
                return Err(HostRegionError::HostRange { range, host });
            }
        }
        for pair in regions.windows(2) {
            if let [first, second] = pair
                && first.range.overlaps(second.range)
            {
                let (first, second) = (first.range, second.range);
                return Err(HostRegionError::Overlap { first, second });
            }
        }
        Ok(Self {
            regions: regions.into(),
            options: AccessOptions::new(),
        })
    }

    /// Sets how the memory is accessed. Existing clones keep their options.
    #[must_use]
    pub fn with_access(self, options: AccessOptions) -> Self {
        Self { options, ..self }
    }

    /// The regions, sorted by guest physical address.
    #[must_use]
    pub fn regions(&self) -> &[HostRegion] {
        &self.regions
    }

    /// A memory map with every region as RAM, for the [`Machine`](boot_core::Machine). The caller reserves what the guest must not
    /// use as RAM.
    #[must_use]
    pub fn memory_map(&self) -> MemoryMap {
        let mut map = MemoryMap::new();
        for region in &*self.regions {
            // The regions are not empty and do not overlap, so this succeeds.
            let _always_ok = map.insert(region.range, RegionKind::Ram);
        }
        map
    }

    /// Advises the host about huge pages in all regions (`MADV_HUGEPAGE` or `MADV_NOHUGEPAGE`). The host may ignore it.
    ///
    /// A huge page of the host can back a huge page of the guest only if the host address and the guest physical address are
    /// equal modulo 2 MiB: [`HostRegion::congruent`].
    pub fn advise_huge_pages(&self, huge_pages: HugePages) {
        for region in &*self.regions {
            // SAFETY: the region is one of this value.
            let slice = unsafe { region.part(region.range) };
            pages::advise_huge(&slice, huge_pages);
        }
    }

    fn access(&self) -> Access<'_, Self> {
        Access {
            memory: self,
            options: self.options,
        }
    }
}

impl Backend for HostRam {
    type Slice<'a> = RawSlice<'a>;

    fn pieces(&self, range: GuestRange) -> Option<impl Iterator<Item = RawSlice<'_>>> {
        let first = self
            .regions
            .partition_point(|region| region.range.end() <= range.start());
        let parts = self.regions.get(first..).unwrap_or_default().iter();
        let parts = parts.take_while(move |region| region.range.overlaps(range));
        let end = parts.clone().try_fold(range.start(), |next, region| {
            (region.range.start() <= next).then_some(region.range.end())
        });
        let is_backed = range.is_empty() || end.is_some_and(|end| range.end() <= end);
        is_backed.then(|| {
            parts.map(move |region| {
                // SAFETY: the region is one of this value, which the slice borrows.
                unsafe { region.part(range) }
            })
        })
    }
}

impl GuestMemory for HostRam {
    fn check(&self, range: GuestRange) -> Result<(), MemoryError> {
        self.access().check(range)
    }

    fn write(&mut self, addr: u64, bytes: &[u8]) -> Result<(), MemoryError> {
        self.access().write(addr, bytes)
    }

    fn zero(&mut self, range: GuestRange) -> Result<(), MemoryError> {
        self.access().zero(range, true)
    }

    fn read(&self, addr: u64, buf: &mut [u8]) -> Result<(), MemoryError> {
        self.access().read(addr, buf)
    }

    /// Fills `range` with the bytes of `source` from `offset` on, as [`GuestRam`](crate::GuestRam) does.
    fn copy_from(
        &mut self,
        range: GuestRange,
        source: &dyn ByteSource,
        offset: u64,
    ) -> Result<(), MemoryError> {
        self.access().copy_from(range, source, offset)
    }
}
