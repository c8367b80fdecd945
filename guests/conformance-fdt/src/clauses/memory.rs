//! Clauses about the memory nodes and reserved memory.

use clauses::memory::{self, MemoryMap, NamedRange};
use clauses::memory_map::overlap;
use clauses::{check, fail, note};
use contract::Expectation;

use super::image::ClaimedRange;
use crate::fdt::Fdt;
use crate::machine::phys::Phys;

const MAX_RESERVED: usize = 64;
/// Address range type of RAM (ACPI specification, section 15).
const RAM: u32 = 1;

/// Reserved memory: start and end (exclusive) of each range.
struct Reserved {
    ranges: [(u64, u64); MAX_RESERVED],
    len: usize,
}

impl Reserved {
    fn push(&mut self, start: u64, len: u64) {
        note!("memory.reserved", "{start:#x}-{:#x}", start.saturating_add(len));
        match self.ranges.get_mut(self.len) {
            None => fail!("memory.reserved", "more ranges"; "at most {MAX_RESERVED}"),
            Some(range) => {
                *range = (start, start.saturating_add(len));
                self.len += 1;
            }
        }
    }

    fn ranges(&self) -> &[(u64, u64)] {
        self.ranges.get(..self.len).unwrap_or_default()
    }
}

/// Adds the banks to `map` and checks them and the ranges in use.
pub(crate) fn check(
    tree: &Fdt<'_>,
    expectation: &Expectation<'_>,
    kernel: &ClaimedRange,
    initrd: Option<(u64, u64)>,
    tree_at: u64,
    map: &mut MemoryMap,
    phys: &mut Phys,
) {
    for bank in tree
        .nodes()
        .filter(|node| node.string("device_type") == Some("memory"))
    {
        let name = format_args!("memory.bank.{}", bank.name);
        let mut count = 0;
        for (start, len) in bank.reg().into_iter().flatten() {
            map.push(start, len, RAM);
            count += 1;
        }
        check!(name, count > 0, "no entry in reg"; "at least one");
    }
    let mut reserved = Reserved {
        ranges: [(0, 0); MAX_RESERVED],
        len: 0,
    };
    for (start, len) in tree.reservations() {
        reserved.push(start, len);
    }
    for node in tree
        .node("/reserved-memory")
        .into_iter()
        .flat_map(|node| node.children())
    {
        for (start, len) in node.reg().into_iter().flatten() {
            reserved.push(start, len);
        }
    }
    let image = (kernel.start, kernel.end);
    let overlapping = reserved.ranges().iter().find(|range| overlap(image, **range));
    check!("place.kernel.unreserved", overlapping.is_none(), "{:#x}-{:#x} reserved",
        overlapping.map_or(0, |it| it.0), overlapping.map_or(0, |it| it.1); "no reservation in {:#x}-{:#x}", image.0, image.1);

    let tree_end = tree_at.saturating_add(tree.total.into());
    let occupied: [NamedRange; 3] = [
        ("kernel", kernel.start, kernel.end),
        ("device-tree", tree_at, tree_end),
        ("initrd", initrd.map_or(0, |it| it.0), initrd.map_or(0, |it| it.1)),
    ];
    let own = (
        kernel.start,
        kernel.start.saturating_add(crate::machine::phys::image_length()),
    );
    let mut excluded = [(0, 0); MAX_RESERVED + 1];
    let used = reserved.len + 1;
    for (slot, range) in excluded
        .iter_mut()
        .zip([&own].into_iter().chain(reserved.ranges()))
    {
        *slot = *range;
    }
    memory::check(
        map,
        expectation.memory,
        occupied.into_iter(),
        excluded.get(..used).unwrap_or_default(),
        phys,
    );
}
