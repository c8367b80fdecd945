//! Placing the kernel image itself.

use alloc::vec::Vec;

use super::{Obstacle, PlacementError, RamAllocator};
use crate::image::EntryAbi;
use crate::{GuestRange, KernelImage, Placement, Segment};

/// The label of everything that belongs to the kernel.
pub(crate) const KERNEL_LABEL: &str = "kernel";

/// A kernel image placed in guest memory.
///
/// All its addresses are final: the link addresses, moved by the distance between the chosen place and the link address.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PlacedKernel {
    link: u64,
    base: u64,
    extent: GuestRange,
    occupied_ranges: Vec<GuestRange>,
    segments: Vec<Segment>,
}

impl PlacedKernel {
    /// Places `image` and takes its memory: a fixed image at its link address, a relocatable one where
    /// [`RamAllocator::allocate`] places its extent, which is the address of the label `kernel` if the request fixes one, or an address that
    /// [`BootRequest::placement_seed`](crate::BootRequest::placement_seed) chooses.
    ///
    /// # Errors
    ///
    /// [`PlacementError`] where a fixed image is not in free RAM, a relocatable one fits nowhere, or the address that the
    /// request fixes is not allowed.
    pub fn place(image: &KernelImage, allocator: &mut RamAllocator<'_>) -> Result<Self, PlacementError> {
        Self::place_below(image, allocator, u64::MAX)
    }

    /// The same with the whole extent below `max` (exclusive).
    ///
    /// # Errors
    ///
    /// Those of [`place`](Self::place), and [`PlacementError::TooHigh`] for a fixed image beyond `max`.
    pub fn place_below(
        image: &KernelImage,
        allocator: &mut RamAllocator<'_>,
        max: u64,
    ) -> Result<Self, PlacementError> {
        let link = image.extent();
        let fixed = allocator.fixed_address(KERNEL_LABEL);
        match image.placement() {
            Placement::Fixed if fixed.is_some_and(|addr| addr != link.start()) => {
                Err(PlacementError::NotRelocatable {
                    label: KERNEL_LABEL,
                    addr: fixed.unwrap_or_default(),
                    link: link.start(),
                })
            }
            Placement::Fixed if link.end() > max => Err(PlacementError::TooHigh {
                label: KERNEL_LABEL,
                range: link,
                max,
            }),
            Placement::Fixed => {
                let placed = Self::at(image, link.start()).ok_or(no_address(link))?;
                for range in &placed.occupied_ranges {
                    allocator.reserve(KERNEL_LABEL, *range)?;
                }
                Ok(placed)
            }
            Placement::Relocatable(rule) => {
                let rule = allocator.placement_seed.map_or(rule, |seed| rule.random(seed));
                let chosen = allocator.allocate(KERNEL_LABEL, link.len(), &rule.not_above(max))?;
                Self::at(image, chosen.start()).ok_or(no_address(chosen))
            }
        }
    }

    /// Places a relocatable image with its extent at `base`. Returns `None` and takes nothing where the image is fixed,
    /// its constraints exclude `base`, the request fixes another address for the kernel or has a number that chooses it, the memory is not free
    /// RAM, or the extent would end above `max` (exclusive).
    #[must_use]
    pub fn place_at(
        image: &KernelImage,
        allocator: &mut RamAllocator<'_>,
        base: u64,
        max: u64,
    ) -> Option<Self> {
        let range = GuestRange::new(base, image.extent().len()).filter(|range| range.end() <= max)?;
        let is_elsewhere = match allocator.fixed_address(KERNEL_LABEL) {
            Some(addr) => addr != base,
            None => allocator.placement_seed.is_some(),
        };
        if is_elsewhere {
            return None;
        }
        match image.placement() {
            Placement::Relocatable(rule) if rule.allows_in(range, allocator.map()) => {
                let placed = Self::at(image, base)?;
                allocator.reserve(KERNEL_LABEL, range).ok()?;
                Some(placed)
            }
            _ => None,
        }
    }

    /// `image` with its extent moved to `base`.
    fn at(image: &KernelImage, base: u64) -> Option<Self> {
        let link = image.extent().start();
        let shift = |addr: u64| addr.checked_sub(link)?.checked_add(base);
        let move_range = |range: GuestRange| GuestRange::new(shift(range.start())?, range.len());
        let segments = image
            .segments()
            .iter()
            .map(|segment| {
                Some(Segment {
                    range: move_range(segment.range)?,
                    ..*segment
                })
            })
            .collect::<Option<_>>()?;
        let occupied_ranges = image.occupied_ranges().map(move_range).collect::<Option<_>>()?;
        Some(Self {
            link,
            base,
            extent: GuestRange::new(base, image.extent().len())?,
            occupied_ranges,
            segments,
        })
    }

    /// The start of the extent.
    #[must_use]
    pub fn base(&self) -> u64 {
        self.base
    }

    /// The runtime extent ([`KernelImage::extent`]) at its final addresses.
    #[must_use]
    pub fn extent(&self) -> GuestRange {
        self.extent
    }

    /// The parts of the extent that belong to the kernel ([`KernelImage::occupied_ranges`]), at their final addresses.
    #[must_use]
    pub fn occupied_ranges(&self) -> &[GuestRange] {
        &self.occupied_ranges
    }

    /// Takes the gaps between [`occupied_ranges`](Self::occupied_ranges), RAM or not, so that nothing else is placed
    /// inside the extent.
    ///
    /// Protocols for Linux need this: the alignment of its segments leaves gaps, but the kernel treats all memory from
    /// its first to its last byte as its own, and frees parts of it later.
    ///
    /// # Errors
    ///
    /// [`PlacementError::Taken`] where a part of a gap is taken.
    pub fn reserve_gaps(&self, allocator: &mut RamAllocator<'_>) -> Result<(), PlacementError> {
        self.gaps()
            .try_for_each(|gap| allocator.exclude(KERNEL_LABEL, gap))
    }

    /// The parts of the extent between [`occupied_ranges`](Self::occupied_ranges), sorted by address.
    pub fn gaps(&self) -> impl Iterator<Item = GuestRange> + '_ {
        self.occupied_ranges
            .windows(2)
            .filter_map(|pair| match pair {
                [a, b] => GuestRange::from_bounds(a.end(), b.start()),
                _ => None,
            })
            .filter(|gap| !gap.is_empty())
    }

    /// The segments at their final addresses.
    #[must_use]
    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// The final address of a link address; `None` outside the extent.
    #[must_use]
    pub fn address(&self, link_addr: u64) -> Option<u64> {
        let addr = link_addr.checked_sub(self.link)?.checked_add(self.base)?;
        self.extent.contains_addr(addr).then_some(addr)
    }

    /// The final address of the entry point of `image` with this ABI; `None` without one.
    #[must_use]
    pub fn entry(&self, image: &KernelImage, abi: EntryAbi) -> Option<u64> {
        self.address(image.entry(abi)?.addr)
    }
}

fn no_address(range: GuestRange) -> PlacementError {
    PlacementError::NotRam {
        label: KERNEL_LABEL,
        range,
        obstacle: Obstacle::NoMemory(range),
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::ToOwned;
    use std::string::ToString;

    use super::*;
    use crate::{
        Arch, BootRequest, Cmdline, Constraints, Endian, FixedAddress, ImageBuilder, Machine, MemoryMap,
        RegionKind, SourceRange,
    };

    fn range(start: u64, end: u64) -> GuestRange {
        GuestRange::from_bounds(start, end).unwrap()
    }

    /// RAM from 0x1000 to 0x9000.
    fn map() -> MemoryMap {
        let mut map = MemoryMap::new();
        map.insert(range(0x1000, 0x9000), RegionKind::Ram).unwrap();
        map
    }

    /// Two segments with a gap of 0x800 bytes, which `rule` places.
    fn image(rule: Placement) -> KernelImage {
        ImageBuilder::new("test", Arch::X86_64, Endian::Little, 0x100)
            .segment(SourceRange::whole(0x100), range(0x2000, 0x2800))
            .segment(SourceRange::whole(0), range(0x3000, 0x4000))
            .entry(EntryAbi::ELF64, 0x2004)
            .placement(rule)
            .build()
            .unwrap()
    }

    #[test]
    fn a_fixed_image_takes_its_segments_and_reserves_its_gaps() {
        let (map, image) = (map(), image(Placement::Fixed));
        let mut allocator = RamAllocator::new(&map);
        let kernel = PlacedKernel::place_below(&image, &mut allocator, 0x4000).unwrap();
        assert_eq!((kernel.base(), kernel.extent()), (0x2000, range(0x2000, 0x4000)));
        assert_eq!(kernel.segments(), image.segments());
        assert_eq!(kernel.gaps().collect::<Vec<_>>(), [range(0x2800, 0x3000)]);
        assert_eq!(kernel.entry(&image, EntryAbi::ELF64), Some(0x2004));
        assert_eq!(kernel.entry(&image, EntryAbi::PVH), None);
        let mut other = allocator.clone();
        other.reserve("table", range(0x2800, 0x2900)).unwrap();
        assert!(matches!(
            kernel.reserve_gaps(&mut other),
            Err(PlacementError::Taken {
                label: "kernel",
                by: "table",
                ..
            })
        ));
        kernel.reserve_gaps(&mut allocator).unwrap();
        assert!(allocator.reserve("table", range(0x2800, 0x2900)).is_err());
        assert!(matches!(
            PlacedKernel::place(&image, &mut allocator),
            Err(PlacementError::Taken { by: "kernel", .. })
        ));
        assert!(matches!(
            PlacedKernel::place_below(&image, &mut RamAllocator::new(&map), 0x3fff),
            Err(PlacementError::TooHigh { max: 0x3fff, .. })
        ));
        assert_eq!(
            PlacedKernel::place_at(&image, &mut RamAllocator::new(&map), 0x2000, u64::MAX),
            None
        );
    }

    #[test]
    fn a_relocatable_image_moves_as_a_whole() {
        let image = image(Placement::Relocatable(
            Constraints::aligned(0x1000).prefer(0x5000),
        ));
        let map = map();
        let mut allocator = RamAllocator::new(&map);
        let kernel = PlacedKernel::place(&image, &mut allocator).unwrap();
        assert_eq!((kernel.base(), kernel.extent()), (0x5000, range(0x5000, 0x7000)));
        assert_eq!(kernel.occupied_ranges(), [range(0x5000, 0x7000)]);
        assert_eq!(kernel.gaps().count(), 0);
        let segments: Vec<_> = kernel.segments().iter().map(|segment| segment.range).collect();
        assert_eq!(segments, [range(0x5000, 0x5800), range(0x6000, 0x7000)]);
        assert_eq!(kernel.entry(&image, EntryAbi::ELF64), Some(0x5004));
        let addresses = [0x1fff, 0x2000, 0x3fff, 0x4000].map(|addr| kernel.address(addr));
        assert_eq!(addresses, [None, Some(0x5000), Some(0x6fff), None]);
        let again = PlacedKernel::place_below(&image, &mut allocator, 0x3000).unwrap();
        assert_eq!(again.base(), 0x1000);
    }

    #[test]
    fn a_request_may_fix_the_address_of_a_relocatable_image() {
        let map = map();
        let check = |placement, addr, expected: Result<u64, &str>| {
            let image = image(placement);
            let fixed = [FixedAddress::new(KERNEL_LABEL, addr)];
            let machine = Machine::new(Arch::X86_64, map.clone());
            let cmdline = Cmdline::new();
            let request = BootRequest::new(&image, &machine, &cmdline).with_fixed_addresses(&fixed);
            let mut allocator = RamAllocator::for_request(&request).unwrap();
            assert_eq!(
                PlacedKernel::place_at(&image, &mut allocator.clone(), 0x6000, u64::MAX),
                None
            );
            let placed = PlacedKernel::place_below(&image, &mut allocator, 0x8000);
            let found = placed
                .map(|kernel| kernel.base())
                .map_err(|error| error.to_string());
            assert_eq!(found, expected.map_err(str::to_owned));
        };
        let relocatable = Placement::Relocatable(Constraints::aligned(0x1000).prefer(0x5000));
        check(relocatable, 0x3000, Ok(0x3000));
        check(
            relocatable,
            0x3800,
            Err("the kernel cannot be at 0x3800..0x5800: it must be aligned to 0x1000, below 0x8000"),
        );
        check(
            relocatable,
            0x7000,
            Err("the kernel cannot be at 0x7000..0x9000: it must be aligned to 0x1000, below 0x8000"),
        );
        check(Placement::Fixed, 0x2000, Ok(0x2000));
        check(
            Placement::Fixed,
            0x3000,
            Err("the kernel cannot be at 0x3000: it is not relocatable and runs at 0x2000 only"),
        );
    }

    #[test]
    fn an_image_is_placed_at_an_address_that_it_allows() {
        let image = image(Placement::Relocatable(Constraints::aligned(0x1000)));
        let map = map();
        let check = |base, max, expected: bool| {
            let mut allocator = RamAllocator::new(&map);
            let placed = PlacedKernel::place_at(&image, &mut allocator, base, max);
            assert_eq!(
                placed.map(|kernel| kernel.base()),
                expected.then_some(base),
                "{base:#x}"
            );
            let is_free = allocator.reserve("table", range(0x3000, 0x3001)).is_ok();
            assert_eq!(is_free, !expected, "{base:#x}");
        };
        check(0x3000, 0x5000, true);
        check(0x3000, 0x4fff, false);
        check(0x2800, u64::MAX, false);
        check(0x8000, u64::MAX, false);
        check(u64::MAX, u64::MAX, false);
    }
}
