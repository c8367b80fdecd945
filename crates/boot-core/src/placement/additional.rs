//! Placement of the caller's additional loads.

use alloc::vec::Vec;

use super::{PlacementError, RamAllocator};
use crate::request::AdditionalPlace;
use crate::{AdditionalLoad, GuestRange, MemoryMap, RegionKind};

/// The additional loads of a request at their addresses, and the memory map that tells the guest about them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlacedAdditional {
    ranges: Vec<GuestRange>,
    memory: MemoryMap,
}

impl PlacedAdditional {
    /// Allocates the additional loads without an address, after those with one were taken by
    /// [`RamAllocator::for_request`].
    ///
    /// # Errors
    ///
    /// [`PlacementError`] where a load fits nowhere.
    pub fn place(
        allocator: &mut RamAllocator<'_>,
        loads: &[AdditionalLoad<'_>],
    ) -> Result<Self, PlacementError> {
        let mut memory = allocator.map().clone();
        let mut ranges = Vec::new();
        for load in loads {
            let range = match load.place {
                // Checked when the allocator took it.
                AdditionalPlace::At(addr) => {
                    GuestRange::new(addr, load.content.len()).unwrap_or(GuestRange::EMPTY)
                }
                AdditionalPlace::Within(constraints) => {
                    allocator.allocate(load.label, load.content.len(), &constraints)?
                }
            };
            if load.kind != RegionKind::Ram && memory.is_ram(range) {
                // The range is not empty and in RAM, so this cannot fail.
                let _unused = memory.reserve(range, load.kind);
            }
            ranges.push(range);
        }
        Ok(Self { ranges, memory })
    }

    /// The range of each load, in the order of the request.
    #[must_use]
    pub fn ranges(&self) -> &[GuestRange] {
        &self.ranges
    }

    /// The machine's memory map, with the loads in RAM as regions of their [kind](AdditionalLoad::kind).
    #[must_use]
    pub fn memory(&self) -> &MemoryMap {
        &self.memory
    }
}

#[cfg(test)]
mod tests {
    use std::string::ToString;

    use super::*;
    use crate::{Arch, BootRequest, Cmdline, Constraints, EntryAbi, Machine, testing};

    fn range(start: u64, len: u64) -> GuestRange {
        GuestRange::new(start, len).unwrap()
    }

    /// Places `loads` on a PC with 2 MiB of RAM.
    fn place(loads: &[AdditionalLoad<'_>]) -> Result<PlacedAdditional, PlacementError> {
        let image = testing::image(range(0x10_0000, 4), EntryAbi::ELF32);
        let machine = Machine::new(Arch::X86_64, MemoryMap::pc(2 << 20).unwrap());
        let cmdline = Cmdline::new();
        let request = BootRequest::new(&image, &machine, &cmdline).with_additional_loads(loads);
        let mut allocator = RamAllocator::for_request(&request)?;
        let placed = PlacedAdditional::place(&mut allocator, loads)?;
        for range in placed.ranges() {
            assert!(allocator.exclude("other", *range).is_err());
        }
        Ok(placed)
    }

    #[test]
    fn the_guests_map_lists_loads_by_their_kind() {
        let bytes = [0; 0x1000];
        let load = |label| AdditionalLoad::bytes(label, &bytes);
        let placed = place(&[
            load("tables")
                .within(Constraints::aligned(0x1000).between(0x1000, 0x10_0000))
                .in_region(RegionKind::AcpiReclaimable),
            load("ebda").at(0x1000).in_region(RegionKind::Reserved),
            load("bios").at(0xf_0000).in_region(RegionKind::Reserved),
            load("firmware").at(0x10_0000),
        ])
        .unwrap();
        assert_eq!(
            placed.ranges(),
            [0x2000, 0x1000, 0xf_0000, 0x10_0000].map(|start| range(start, 0x1000))
        );
        let map = placed.memory();
        for (start, kind) in [
            (0x0, RegionKind::Ram),
            (0x1000, RegionKind::Reserved),
            (0x2000, RegionKind::AcpiReclaimable),
            (0x3000, RegionKind::Ram),
            (0xf_0000, RegionKind::Reserved),
            (0x10_0000, RegionKind::Ram),
        ] {
            assert!(map.is_kind(range(start, 0x1000), kind), "{start:#x}");
        }
    }

    #[test]
    fn memory_that_is_present_is_taken_and_stays_ram() {
        let own = AdditionalLoad::present("firmware", 0x1000, 0x1000);
        assert_eq!((own.content.len(), own.kind), (0x1000, RegionKind::Ram));
        let bytes = [0; 0x1000];
        let placed = place(&[own, AdditionalLoad::bytes("tables", &bytes)]).unwrap();
        assert_eq!(
            placed.ranges(),
            [0x1000, 0x2000].map(|start| range(start, 0x1000))
        );
        assert!(placed.memory().is_ram(range(0x1000, 0x1000)));
    }

    #[test]
    fn loads_that_cannot_be_placed_are_refused() {
        let bytes = [0; 0x1000];
        let load = AdditionalLoad::bytes("tables", &bytes);
        let check = |loads: &[AdditionalLoad<'_>], expected: &str| {
            assert_eq!(place(loads).unwrap_err().to_string(), expected);
        };
        check(
            &[load.at(0xf_0000)],
            "the tables must be at 0xf0000..0xf1000, but the range 0xa0000..0x100000 of the memory map is reserved",
        );
        check(
            &[load.at(0xf_0000).in_region(RegionKind::AcpiNvs)],
            "the tables at 0xf0000..0xf1000 is neither in RAM nor in a region of kind acpi-nvs of the machine's \
             memory map",
        );
        check(
            &[
                load.at(0x1000),
                AdditionalLoad {
                    label: "other",
                    ..load
                }
                .at(0x1800),
            ],
            "the other must be at 0x1800..0x2800, but the tables is at 0x1000..0x2000",
        );
        check(
            &[load.within(Constraints::NONE.between(0xf_0000, 0xf_8000))],
            "no free RAM for the tables: it needs 4 KiB between 0xf0000 and 0xf8000; no RAM is free there",
        );
        check(
            &[AdditionalLoad::file("firmware", 0).at(0x1000)],
            "invalid request of 0x0 bytes for the firmware: alignment 0x1, remainder 0x0; the length must not be zero \
             and the alignment a power of two above the remainder",
        );
        check(
            &[load.at(u64::MAX)],
            "no free RAM for the tables: it needs 4 KiB at or above 0xffffffffffffffff; no RAM is free there",
        );
    }
}
