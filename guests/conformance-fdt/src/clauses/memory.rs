//! Memory: the banks that the tree describes, and what it reserves.

use clauses::memory::{self, Map, Occupant};
use clauses::memory_map::overlap;
use clauses::{check, fail, note};
use contract::Expectation;

use super::image::Claim;
use crate::fdt::Fdt;
use crate::machine::phys::Phys;

const MAX_RESERVED: usize = 64;
/// Address range type of RAM.
const RAM: u32 = 1;

/// Memory that is not to be touched: first address and the one past the last.
struct Reserved {
    ranges: [(u64, u64); MAX_RESERVED],
    len: usize,
}

impl Reserved {
    fn push(&mut self, start: u64, len: u64) {
        note!("memory.reserved", "{start:#x}-{:#x}", start.saturating_add(len));
        match self.ranges.get_mut(self.len) {
            None => fail!("memory.reserved", "more ranges"; "{MAX_RESERVED} at the most"),
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

/// Takes the banks into `map`, and checks them and what stands in them.
pub(crate) fn check(
    tree: &Fdt<'_>,
    expectation: &Expectation<'_>,
    kernel: &Claim,
    initrd: Option<(u64, u64)>,
    tree_at: u64,
    map: &mut Map,
    phys: &mut Phys,
) {
    for bank in tree
        .nodes()
        .filter(|node| node.text("device_type") == Some("memory"))
    {
        let name = format_args!("memory.bank.{}", bank.name);
        let mut count = 0;
        for (start, len) in bank.reg().into_iter().flatten() {
            map.push(start, len, RAM);
            count += 1;
        }
        check!(name, count > 0, "no whole entry in reg"; "one or more");
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
    let shared = reserved.ranges().iter().find(|range| overlap(image, **range));
    check!("place.kernel.unreserved", shared.is_none(), "{:#x}-{:#x} reserved",
        shared.map_or(0, |it| it.0), shared.map_or(0, |it| it.1); "nothing of {:#x}-{:#x}", image.0, image.1);

    let tree_end = tree_at.saturating_add(tree.total.into());
    let occupants: [Occupant; 3] = [
        ("kernel", kernel.start, kernel.end),
        ("device-tree", tree_at, tree_end),
        ("initrd", initrd.map_or(0, |it| it.0), initrd.map_or(0, |it| it.1)),
    ];
    let own = (
        kernel.start,
        kernel.start.saturating_add(crate::machine::phys::image_length()),
    );
    let mut untouchable = [(0, 0); MAX_RESERVED + 1];
    let used = reserved.len + 1;
    for (slot, range) in untouchable
        .iter_mut()
        .zip([&own].into_iter().chain(reserved.ranges()))
    {
        *slot = *range;
    }
    memory::check(
        map,
        expectation.memory,
        occupants.into_iter(),
        untouchable.get(..used).unwrap_or_default(),
        phys,
    );
}
