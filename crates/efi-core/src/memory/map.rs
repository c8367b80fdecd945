//! The memory map and the allocation of pages.

use alloc::vec::Vec;
use core::ops::Range;

use super::types::{Attributes, Descriptor, MemoryType, PAGE_SIZE};
use crate::{Result, Status};

/// Pages of the whole address space.
const ALL_PAGES: u64 = u64::MAX / PAGE_SIZE + 1;
/// Regions of a map; an allocation that would need more fails.
const MAX_REGIONS: usize = 4096;

/// The party that allocated a region, and may free it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Owner {
    /// Nobody: the region is free if its type is conventional memory.
    Nobody,
    /// The platform; `FreePages` refuses it.
    Platform,
    /// A caller of `AllocatePages`.
    Pages,
    /// The pool; `FreePages` refuses it.
    Pool,
}

/// Where `AllocatePages` puts an allocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Placement {
    /// `AllocateAnyPages`: as high as possible below [`MapConfig::limit`].
    Any,
    /// `AllocateMaxAddress`: as high as possible with this address as the last byte at most.
    Max(u64),
    /// `AllocateAddress`: at this address.
    At(u64),
}

/// Properties of a platform's map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct MapConfig {
    /// Highest address of allocations without a placement. Higher memory is used only when none is free below. The default
    /// is the last byte below 4 GiB, which every loader can address.
    pub limit: u64,
    /// Alignment in pages, and the unit of the size, of types that survive boot services. A power of two: 16 (64 KiB) on
    /// arm64, else 1, UEFI 2.10 section 2.3.6. The default is 1.
    pub runtime_granularity: u64,
    /// Free ranges of fewer pages are used only where no larger one suffices. The default is 1: all ranges are equal.
    ///
    /// Linux on riscv64 reserves memory up to the next 2 MiB behind its image, and ignores an initrd there. Its stub puts the image at a
    /// multiple of 2 MiB and frees what is behind it, which would be the highest free range: 512 there.
    pub small_range: u64,
}

impl Default for MapConfig {
    fn default() -> Self {
        Self {
            limit: 0xffff_ffff,
            runtime_granularity: 1,
            small_range: 1,
        }
    }
}

impl MapConfig {
    /// Sets the highest address of allocations without a placement.
    #[must_use]
    pub const fn with_limit(mut self, limit: u64) -> Self {
        self.limit = limit;
        self
    }

    /// Sets the number of pages of which a free range must have fewer to be used last.
    #[must_use]
    pub const fn with_small_range(mut self, pages: u64) -> Self {
        self.small_range = pages;
        self
    }

    /// Sets the granularity of runtime regions in pages. Other values than powers of two up to 512 count as 1.
    #[must_use]
    pub const fn with_runtime_granularity(mut self, pages: u64) -> Self {
        self.runtime_granularity = if pages.is_power_of_two() && pages <= 512 {
            pages
        } else {
            1
        };
        self
    }
}

/// A range of page numbers of one type and owner.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Region {
    pages: Range<u64>,
    kind: MemoryType,
    attributes: Attributes,
    owner: Owner,
}

impl Region {
    fn is_free(&self) -> bool {
        self.owner == Owner::Nobody && self.kind == MemoryType::CONVENTIONAL
    }

    fn continues(&self, next: &Self) -> bool {
        self.pages.end == next.pages.start
            && (self.kind, self.attributes, self.owner) == (next.kind, next.attributes, next.owner)
    }

    fn descriptor(&self) -> Descriptor {
        let runtime = if self.kind.is_runtime() {
            Attributes::RUNTIME
        } else {
            Attributes::empty()
        };
        Descriptor {
            kind: self.kind,
            start: self.pages.start.wrapping_mul(PAGE_SIZE),
            pages: self.pages.end.saturating_sub(self.pages.start),
            attributes: self.attributes | runtime,
        }
    }
}

/// The memory map: disjoint regions in the order of their addresses, and a key that changes with every change of the map.
#[derive(Clone, Debug)]
pub struct MemoryMap {
    regions: Vec<Region>,
    key: u64,
    config: MapConfig,
}

impl MemoryMap {
    /// A map without memory.
    #[must_use]
    pub const fn new(config: MapConfig) -> Self {
        Self {
            regions: Vec::new(),
            key: 1,
            config,
        }
    }

    /// Adds memory of the platform. Conventional memory is free, and every other type belongs to the platform.
    ///
    /// # Errors
    ///
    /// `INVALID_PARAMETER` if the range is empty, not aligned, ends past the address space, or overlaps the map;
    /// `OUT_OF_RESOURCES` if the map has too many regions.
    pub fn add(&mut self, descriptor: &Descriptor) -> Result<()> {
        let pages = page_range(descriptor.start, descriptor.pages)?;
        let index = self
            .regions
            .partition_point(|region| region.pages.end <= pages.start);
        if self
            .regions
            .get(index)
            .is_some_and(|next| next.pages.start < pages.end)
        {
            return Err(Status::INVALID_PARAMETER);
        }
        if self.regions.len() >= MAX_REGIONS {
            return Err(Status::OUT_OF_RESOURCES);
        }
        let owner = match descriptor.kind {
            MemoryType::CONVENTIONAL => Owner::Nobody,
            _ => Owner::Platform,
        };
        let region = Region {
            pages,
            kind: descriptor.kind,
            attributes: descriptor.attributes,
            owner,
        };
        self.regions.insert(index, region);
        self.changed();
        Ok(())
    }

    /// Gives free pages to the platform, for example those of the firmware's own image.
    ///
    /// # Errors
    ///
    /// `INVALID_PARAMETER` if the range is empty, not aligned or ends past the address space; `NOT_FOUND` if a page is not
    /// free; `OUT_OF_RESOURCES` if the map would have too many regions.
    pub fn reserve(&mut self, start: u64, pages: u64, kind: MemoryType) -> Result<()> {
        let pages = page_range(start, pages)?;
        if !self.all(&pages, Region::is_free) {
            return Err(Status::NOT_FOUND);
        }
        self.replace(&pages, kind, Owner::Platform)
    }

    /// `AllocatePages`: the address of the first page.
    ///
    /// Pages of types that survive boot services come in units of [`MapConfig::runtime_granularity`]. Page 0 is
    /// only allocated by its address.
    ///
    /// # Errors
    ///
    /// `INVALID_PARAMETER` if the type cannot be allocated, `pages` is 0, or the address is not a page's; `NOT_FOUND` if a
    /// page at the requested address is not free or not aligned; `OUT_OF_RESOURCES` if no range is large enough.
    pub fn allocate(&mut self, placement: Placement, kind: MemoryType, pages: u64) -> Result<u64> {
        self.allocate_for(Owner::Pages, placement, kind, pages)
    }

    /// [`allocate`](Self::allocate) for the pool.
    pub(super) fn allocate_pool_pages(&mut self, kind: MemoryType, pages: u64) -> Result<u64> {
        self.allocate_for(Owner::Pool, Placement::Any, kind, pages)
    }

    fn allocate_for(
        &mut self,
        owner: Owner,
        placement: Placement,
        kind: MemoryType,
        count: u64,
    ) -> Result<u64> {
        if !kind.is_allocatable() || count == 0 {
            return Err(Status::INVALID_PARAMETER);
        }
        let unit = self.granularity(kind);
        let count = count
            .checked_next_multiple_of(unit)
            .ok_or(Status::OUT_OF_RESOURCES)?;
        let pages = match placement {
            Placement::At(start) => {
                if start.checked_rem(PAGE_SIZE) != Some(0) {
                    return Err(Status::INVALID_PARAMETER);
                }
                let pages = page_range(start, count).or(Err(Status::NOT_FOUND))?;
                let is_aligned = pages.start.checked_rem(unit) == Some(0);
                if !is_aligned || !self.all(&pages, Region::is_free) {
                    return Err(Status::NOT_FOUND);
                }
                pages
            }
            Placement::Max(last) => self.find(page_after(last), count, unit)?,
            Placement::Any => self
                .find(page_after(self.config.limit), count, unit)
                .or_else(|_full| self.find(ALL_PAGES, count, unit))?,
        };
        self.replace(&pages, kind, owner)?;
        Ok(pages.start.wrapping_mul(PAGE_SIZE))
    }

    /// The highest free range of `count` pages that ends at `end` at most; small ranges come last.
    fn find(&self, end: u64, count: u64, unit: u64) -> Result<Range<u64>> {
        let free = || self.regions.iter().rev().filter(|region| region.is_free());
        let len = |region: &Region| region.pages.end.saturating_sub(region.pages.start);
        let is_large = |region: &&Region| len(region) >= self.config.small_range;
        let mut in_order = free().filter(is_large).chain(free());
        in_order
            .find_map(|region| {
                let end = region.pages.end.min(end);
                let start = end.checked_sub(count)?;
                let start = start.checked_sub(start.checked_rem(unit)?)?;
                (start >= region.pages.start.max(1)).then(|| start..start.saturating_add(count))
            })
            .ok_or(Status::OUT_OF_RESOURCES)
    }

    /// `FreePages`. A part of an allocation may be freed.
    ///
    /// # Errors
    ///
    /// `INVALID_PARAMETER` if the range is empty, not aligned or ends past the address space; `NOT_FOUND` if a page was not
    /// allocated by [`allocate`](Self::allocate); `OUT_OF_RESOURCES` if the map would have too many regions.
    pub fn free(&mut self, start: u64, pages: u64) -> Result<()> {
        self.free_for(Owner::Pages, start, pages)
    }

    /// [`free`](Self::free) for the pool.
    pub(super) fn free_pool_pages(&mut self, start: u64, pages: u64) -> Result<()> {
        self.free_for(Owner::Pool, start, pages)
    }

    fn free_for(&mut self, owner: Owner, start: u64, count: u64) -> Result<()> {
        let first = page_range(start, count)?;
        let unit = self
            .region_at(first.start)
            .map_or(1, |region| self.granularity(region.kind));
        if first.start.checked_rem(unit) != Some(0) {
            return Err(Status::INVALID_PARAMETER);
        }
        let count = count
            .checked_next_multiple_of(unit)
            .ok_or(Status::INVALID_PARAMETER)?;
        let pages = page_range(start, count)?;
        // One granularity in the whole range: a larger unit must not be freed in part.
        if !self.all(&pages, |region| {
            region.owner == owner && self.granularity(region.kind) == unit
        }) {
            return Err(Status::NOT_FOUND);
        }
        self.replace(&pages, MemoryType::CONVENTIONAL, Owner::Nobody)
    }

    /// The map key of `GetMemoryMap`: it changes exactly when the descriptors or their owners change.
    #[must_use]
    pub const fn key(&self) -> u64 {
        self.key
    }

    /// The descriptors of `GetMemoryMap` in the order of their addresses. Neighbours of equal type and attributes are one.
    pub fn descriptors(&self) -> impl Iterator<Item = Descriptor> + '_ {
        let mut regions = self.regions.iter().map(Region::descriptor).peekable();
        core::iter::from_fn(move || {
            let mut descriptor = regions.next()?;
            while let Some(next) = regions.next_if(|next| {
                next.kind == descriptor.kind
                    && next.attributes == descriptor.attributes
                    && descriptor.start.checked_add(descriptor.len()) == Some(next.start)
            }) {
                descriptor.pages = descriptor.pages.saturating_add(next.pages);
            }
            Some(descriptor)
        })
    }

    /// The region with this address and its owner, without regard to neighbours.
    #[must_use]
    pub fn at(&self, address: u64) -> Option<(Descriptor, Owner)> {
        let region = self.region_at(address.checked_div(PAGE_SIZE)?)?;
        Some((region.descriptor(), region.owner))
    }

    /// True if every page of the range is in the map and its region has the property.
    #[must_use]
    pub fn all_pages(&self, start: u64, pages: u64, property: impl Fn(MemoryType, Owner) -> bool) -> bool {
        page_range(start, pages)
            .is_ok_and(|pages| self.all(&pages, |region| property(region.kind, region.owner)))
    }

    /// Number of pages per unit of allocations of this type.
    #[must_use]
    pub fn granularity(&self, kind: MemoryType) -> u64 {
        if kind.survives_boot() {
            self.config.runtime_granularity.max(1)
        } else {
            1
        }
    }

    fn region_at(&self, page: u64) -> Option<&Region> {
        let index = self.regions.partition_point(|region| region.pages.end <= page);
        self.regions
            .get(index)
            .filter(|region| region.pages.contains(&page))
    }

    fn all(&self, pages: &Range<u64>, property: impl Fn(&Region) -> bool) -> bool {
        let first = self
            .regions
            .partition_point(|region| region.pages.end <= pages.start);
        let mut next = pages.start;
        for region in self.regions.iter().skip(first) {
            if next >= pages.end {
                break;
            }
            if region.pages.start > next || !property(region) {
                return false;
            }
            next = region.pages.end;
        }
        next >= pages.end
    }

    /// Gives a covered range another type and owner; the attributes stay.
    fn replace(&mut self, pages: &Range<u64>, kind: MemoryType, owner: Owner) -> Result<()> {
        let first = self
            .regions
            .partition_point(|region| region.pages.end <= pages.start);
        let end = self
            .regions
            .partition_point(|region| region.pages.start < pages.end);
        // One region more on each side, to be merged.
        let first = first.saturating_sub(1);
        let end = end.saturating_add(1).min(self.regions.len());
        let mut parts: Vec<Region> = Vec::new();
        let mut push = |region: Region| match parts.last_mut() {
            _ if region.pages.is_empty() => (),
            Some(last) if last.continues(&region) => last.pages.end = region.pages.end,
            _ => parts.push(region),
        };
        for region in self.regions.get(first..end).unwrap_or(&[]) {
            let inner = region.pages.start.max(pages.start)..region.pages.end.min(pages.end);
            if inner.is_empty() {
                push(region.clone());
                continue;
            }
            push(Region {
                pages: region.pages.start..inner.start,
                ..region.clone()
            });
            push(Region {
                pages: inner.clone(),
                kind,
                owner,
                attributes: region.attributes,
            });
            push(Region {
                pages: inner.end..region.pages.end,
                ..region.clone()
            });
        }
        let others = self.regions.len().saturating_sub(end.saturating_sub(first));
        if others.saturating_add(parts.len()) > MAX_REGIONS {
            return Err(Status::OUT_OF_RESOURCES);
        }
        self.regions.splice(first..end, parts);
        self.changed();
        Ok(())
    }

    fn changed(&mut self) {
        self.key = self.key.wrapping_add(1);
    }
}

/// The pages of a range.
fn page_range(start: u64, pages: u64) -> Result<Range<u64>> {
    let first = start.checked_div(PAGE_SIZE).ok_or(Status::INVALID_PARAMETER)?;
    let end = first.checked_add(pages).ok_or(Status::INVALID_PARAMETER)?;
    if start.checked_rem(PAGE_SIZE) != Some(0) || pages == 0 || end > ALL_PAGES {
        return Err(Status::INVALID_PARAMETER);
    }
    Ok(first..end)
}

/// Number of whole pages up to and with an address.
const fn page_after(last: u64) -> u64 {
    match last.checked_add(1) {
        Some(end) => end / PAGE_SIZE,
        None => ALL_PAGES,
    }
}

#[cfg(test)]
mod tests;
