//! How the memory of a machine is mapped.

use boot_core::{GuestRange, MemoryMap, arith};
use vm_memory::bitmap::NewBitmap;
use vm_memory::{GuestAddress, GuestMemoryMmap, GuestRegionMmap, MmapRegion, VolatileMemory};

use crate::split::Split;
use crate::{GuestRam, RamError, layout, pages};

/// Whether the host shall put transparent huge pages behind guest memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum HugePages {
    /// Ask for them (`MADV_HUGEPAGE`).
    ///
    /// A guest boots and runs faster: one fault of the host instead of 512, and one entry of the second-stage page
    /// table instead of 512. The price is that the first byte that is touched takes up to 2 MiB of the host. Regions
    /// are cut into mappings at the first and the last boundary of 2 MiB in them, which huge pages need.
    #[default]
    Advise,
    /// Ask for small pages (`MADV_NOHUGEPAGE`): the least memory, for hosts that pack many idle guests.
    Avoid,
    /// Ask for nothing: what the host does with a process that gives no advice.
    HostDefault,
}

/// How the memory of a machine is mapped.
///
/// ```
/// use boot_core::MemoryMap;
/// use guest_ram::{GuestRam, HugePages, RamOptions};
///
/// let map = MemoryMap::pc(64 << 20)?;
/// let ram: GuestRam = RamOptions::new().huge_pages(HugePages::Avoid).build(&map)?;
/// assert_eq!(ram.regions().count(), 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct RamOptions {
    huge_pages: HugePages,
    populate: bool,
    copy_threads: Option<usize>,
}

impl RamOptions {
    /// Huge pages are asked for; memory is provided when it is first touched; a few threads carry out large copies.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            huge_pages: HugePages::Advise,
            populate: false,
            copy_threads: None,
        }
    }

    /// The same with another wish for huge pages. Hosts may ignore it, and then nothing fails.
    #[must_use]
    pub const fn huge_pages(self, huge_pages: HugePages) -> Self {
        Self { huge_pages, ..self }
    }

    /// The same, but all memory is provided at once (`true`): building takes longer, and fails where the host has
    /// too little memory, but the guest never waits for a page of the host.
    #[must_use]
    pub const fn populate(self, populate: bool) -> Self {
        Self { populate, ..self }
    }

    /// The same with [`GuestRam::with_copy_threads`] of what is built.
    #[must_use]
    pub const fn copy_threads(self, most: usize) -> Self {
        Self {
            copy_threads: Some(most),
            ..self
        }
    }

    /// Maps memory for every region of `map` that is RAM or holds ACPI tables, zeroed.
    ///
    /// Regions are widened to whole pages of the host, because a hypervisor can only hand out whole pages, and
    /// neighbours share a mapping. Every mapping is anonymous and private.
    ///
    /// # Errors
    ///
    /// [`RamError`] where the map has no RAM or the host cannot map as much.
    pub fn build<B: NewBitmap>(self, map: &MemoryMap) -> Result<GuestRam<B>, RamError> {
        let page = arith::to_u64(pages::size());
        let mut regions = Vec::new();
        for range in layout::backed(map, page)? {
            match self.huge_pages {
                HugePages::Advise => {
                    for piece in layout::cut(range) {
                        regions.push(self.map(piece)?);
                    }
                }
                HugePages::Avoid | HugePages::HostDefault => regions.push(self.map(range)?),
            }
        }
        let memory = GuestMemoryMmap::from_regions(regions)?;
        let split = Split {
            threads: self.copy_threads,
            ..Split::AUTOMATIC
        };
        Ok(GuestRam::from_own(memory, split))
    }

    fn map<B: NewBitmap>(self, range: GuestRange) -> Result<GuestRegionMmap<B>, RamError> {
        let Ok(len) = usize::try_from(range.len()) else {
            return Err(RamError::TooLarge(range));
        };
        // This maps with MAP_ANONYMOUS and MAP_PRIVATE, which zeroing relies on.
        let mapping = MmapRegion::new(len).map_err(|source| RamError::Map { range, source })?;
        let slice = mapping
            .get_slice(0, len)
            .map_err(|source| RamError::Mapping { range, source })?;
        pages::advise_huge(&slice, self.huge_pages);
        if self.populate {
            pages::populate(&slice).map_err(|source| RamError::Populate { range, source })?;
        }
        drop(slice);
        GuestRegionMmap::new(mapping, GuestAddress(range.start())).ok_or(RamError::TooLarge(range))
    }
}
