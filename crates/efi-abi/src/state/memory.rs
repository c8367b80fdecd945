//! Memory of the boot services.

use efi_core::Result;
use efi_core::memory::{Attributes, MemoryMap, MemoryType, PAGE_SIZE, Placement, Pool, Protections};

use crate::platform::Platform;

/// The memory map with the pool and the page protections.
pub(crate) struct Memory {
    pub(crate) map: MemoryMap,
    pub(crate) pool: Pool,
    pub(crate) protections: Protections,
}

impl Memory {
    pub(crate) const fn new(map: MemoryMap) -> Self {
        Self {
            map,
            pool: Pool::new(),
            protections: Protections::new(),
        }
    }

    /// A piece of the pool.
    pub(crate) fn allocate(&mut self, kind: MemoryType, size: usize) -> Result<u64> {
        self.pool.allocate(&mut self.map, kind, size as u64)
    }

    /// Gives a piece of the pool back.
    pub(crate) fn free(&mut self, address: u64) -> Result<()> {
        self.pool.free(&mut self.map, address)
    }

    /// Pages at a multiple of `alignment` pages.
    pub(crate) fn allocate_aligned(&mut self, kind: MemoryType, pages: u64, alignment: u64) -> Result<u64> {
        let unit = alignment.max(1);
        if unit == 1 {
            return self.map.allocate(Placement::Any, kind, pages);
        }
        let start = self
            .map
            .allocate(Placement::Any, kind, pages.saturating_add(unit - 1))?;
        let bytes = unit.saturating_mul(PAGE_SIZE);
        let aligned = start.next_multiple_of(bytes);
        let (before, after) = (
            (aligned - start) / PAGE_SIZE,
            unit - 1 - (aligned - start) / PAGE_SIZE,
        );
        // The surplus of types with a larger unit stays: it may not be whole units.
        if self.map.granularity(kind) == 1 {
            if before > 0 {
                self.map.free(start, before)?;
            }
            if after > 0 {
                self.map.free(aligned + pages * PAGE_SIZE, after)?;
            }
        }
        Ok(aligned)
    }

    /// Frees pages, which get all access rights back first.
    pub(crate) fn free_pages(&mut self, platform: &mut dyn Platform, start: u64, pages: u64) -> Result<()> {
        self.map.free(start, pages)?;
        let len = pages.saturating_mul(PAGE_SIZE);
        if self.protections.get(start, len) != Ok(Attributes::empty()) {
            self.protections.clear(start, len, Attributes::ACCESS)?;
            platform.protect(start, len, Attributes::empty())?;
        }
        Ok(())
    }
}
