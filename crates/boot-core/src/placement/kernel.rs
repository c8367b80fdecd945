//! Placing the kernel image itself.

use alloc::vec::Vec;

use super::{PlacementError, RamAllocator};
use crate::image::EntryAbi;
use crate::{GuestRange, KernelImage, Placement, Segment};

/// The label of everything that belongs to the kernel.
pub(crate) const KERNEL_LABEL: &str = "kernel";

/// A kernel image placed in guest memory.
///
/// Its addresses are final: link addresses plus the distance by which placement moved the image.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PlacedKernel {
    link: u64,
    base: u64,
    extent: GuestRange,
    occupied_ranges: Vec<GuestRange>,
    segments: Vec<Segment>,
}

impl PlacedKernel {
    /// Places `image` and takes its memory: a fixed image at its link address, a relocatable one at its preferred address,
    /// or else at the lowest that its constraints allow.
    ///
    /// # Errors
    ///
    /// [`PlacementError`] where a fixed image is not in free RAM, or a relocatable one fits nowhere.
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
        match image.placement() {
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
                let chosen = allocator.allocate(KERNEL_LABEL, link.len(), &rule.not_above(max))?;
                Self::at(image, chosen.start()).ok_or(no_address(chosen))
            }
        }
    }

    /// The same with the extent at `base`. Returns `None` and takes nothing where the image does not allow that address, the
    /// memory is not free RAM, or the extent would end above `max` (exclusive).
    #[must_use]
    pub fn place_at(
        image: &KernelImage,
        allocator: &mut RamAllocator<'_>,
        base: u64,
        max: u64,
    ) -> Option<Self> {
        let range = GuestRange::new(base, image.extent().len()).filter(|range| range.end() <= max)?;
        match image.placement() {
            Placement::Relocatable(rule) if rule.allow(range) => {
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

    /// The runtime extent, from the first to the last address that the kernel uses.
    #[must_use]
    pub fn extent(&self) -> GuestRange {
        self.extent
    }

    /// The parts of the extent that belong to the kernel.
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
    /// [`PlacementError::Taken`] where something lies in a gap already.
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

    /// The final address of a link address inside the image.
    #[must_use]
    pub fn address(&self, link_addr: u64) -> Option<u64> {
        let addr = link_addr.checked_sub(self.link)?.checked_add(self.base)?;
        self.extent.contains_addr(addr).then_some(addr)
    }

    /// The final address of the image's entry point of one ABI.
    #[must_use]
    pub fn entry(&self, image: &KernelImage, abi: EntryAbi) -> Option<u64> {
        self.address(image.entry(abi)?.addr)
    }
}

fn no_address(range: GuestRange) -> PlacementError {
    PlacementError::NotRam {
        label: KERNEL_LABEL,
        range,
    }
}
