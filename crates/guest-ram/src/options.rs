//! Options of mapping the memory of a machine.

use std::sync::Arc;

use boot_core::{GuestRange, MemoryMap, arith};
use vm_memory::bitmap::NewBitmap;
use vm_memory::{GuestAddress, GuestMemoryMmap, GuestRegionMmap, MmapRegion, VolatileMemory};

use crate::{AccessOptions, GuestRam, HugePages, RamError, congruent, layout, pages};

/// Options of mapping the memory of a machine.
///
/// ```
/// use boot_core::MemoryMap;
/// use guest_ram::{GuestRam, HugePages, RamOptions};
///
/// let map = MemoryMap::pc(64 << 20)?;
/// let ram: GuestRam = RamOptions::new().huge_pages(HugePages::Avoid).build(&map)?;
/// // Below 640 KiB, up to the first boundary of huge pages, and the rest.
/// assert_eq!(ram.regions().count(), 3);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct RamOptions {
    huge_pages: HugePages,
    populate: bool,
    access: AccessOptions,
}

impl GuestRam {
    /// Maps memory for `map` with the default [`RamOptions`] and without a dirty bitmap.
    ///
    /// # Errors
    ///
    /// The errors of [`RamOptions::build`].
    pub fn new(map: &MemoryMap) -> Result<Self, RamError> {
        RamOptions::new().build(map)
    }
}

impl RamOptions {
    /// The defaults: [`HugePages::Advise`], pages are populated at the first access, and the default [`AccessOptions`].
    #[must_use]
    pub const fn new() -> Self {
        Self {
            huge_pages: HugePages::Advise,
            populate: false,
            access: AccessOptions::new(),
        }
    }

    /// Sets the advice to the host about huge pages. The host may ignore it without an error.
    #[must_use]
    pub const fn huge_pages(self, huge_pages: HugePages) -> Self {
        Self { huge_pages, ..self }
    }

    /// Sets whether [`build`](Self::build) populates all pages. It then takes longer, and fails if the host has too little
    /// memory, but later accesses cause no page faults of the host.
    #[must_use]
    pub const fn populate(self, populate: bool) -> Self {
        Self { populate, ..self }
    }

    /// Sets how the memory is accessed. [`AccessOptions::anonymous_private`] is always set.
    #[must_use]
    pub const fn access(self, access: AccessOptions) -> Self {
        Self { access, ..self }
    }

    /// Maps zeroed memory for the regions of `map` that are RAM, ACPI reclaimable or ACPI NVS. Reserved, unusable and
    /// persistent regions have no memory.
    ///
    /// Regions are extended to whole pages of the host, because memory slots consist of whole pages; adjacent regions share
    /// a mapping. Every mapping is anonymous and private. Regions are split at their first and last boundary of 2 MiB, and the
    /// host address of the mapping between is aligned to 2 MiB, so that a huge page of the host can back one of the guest.
    ///
    /// # Errors
    ///
    /// [`RamError`] if the map has no such region, or the host cannot map or populate one.
    pub fn build<B: NewBitmap>(self, map: &MemoryMap) -> Result<GuestRam<GuestMemoryMmap<B>>, RamError> {
        let page = arith::to_u64(pages::size());
        let mut regions = Vec::new();
        for range in layout::backed(map, page)? {
            for piece in layout::split_at_huge_pages(range) {
                regions.push(self.map(piece)?);
            }
        }
        let memory = GuestMemoryMmap::from_regions(regions)?;
        // `map` makes no others.
        let access = self.access.anonymous_private(true);
        Ok(GuestRam::from_memory(Arc::new(memory)).with_access(access))
    }

    fn map<B: NewBitmap>(self, range: GuestRange) -> Result<GuestRegionMmap<B>, RamError> {
        // vm-memory maps with MAP_ANONYMOUS and MAP_PRIVATE; `zero` relies on both.
        let mapping = congruent::map_advised(range, self.huge_pages, MmapRegion::new)?;
        if self.populate {
            let slice = mapping
                .get_slice(0, mapping.size())
                .map_err(|source| RamError::Mapping { range, source })?;
            pages::populate(&slice).map_err(|source| RamError::Populate { range, source })?;
        }
        GuestRegionMmap::new(mapping, GuestAddress(range.start())).ok_or(RamError::TooLarge(range))
    }
}
