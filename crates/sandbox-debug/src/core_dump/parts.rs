//! The parts of guest memory that page tables map.

use boot_core::GuestRange;
use boot_paging::{Access, Page, Pages};

use crate::memory::{AddressSpace, PhysicalMemory, entry};

/// Virtual addresses that are mapped to adjacent physical addresses with memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) address: u64,
    pub(super) physical: u64,
    pub(super) len: u64,
    pub(super) access: Access,
}

impl Part {
    fn continues_with(&self, next: &Self) -> bool {
        self.access == next.access
            && self.address.checked_add(self.len) == Some(next.address)
            && self.physical.checked_add(self.len) == Some(next.physical)
    }
}

/// Mapped parts in the order of the page tables.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Parts {
    pub(super) parts: Vec<Part>,
    /// Page tables were malformed, or more than the limits.
    pub(super) is_incomplete: bool,
}

impl Parts {
    /// The mapped parts of at most `max_tables` page tables, up to `max` parts. Adjacent pages with equal access are one part.
    pub(super) fn find(
        space: AddressSpace,
        memory: &dyn PhysicalMemory,
        max_tables: usize,
        max: usize,
    ) -> Self {
        let ranges = memory.ranges();
        let mut found = Self::default();
        match space {
            AddressSpace::Unsupported => found.is_incomplete = true,
            AddressSpace::Physical => {
                for range in ranges {
                    let part = Part {
                        address: range.start(),
                        physical: range.start(),
                        len: range.len(),
                        access: Access::WRITE | Access::EXECUTE,
                    };
                    found.add(part, max);
                }
            }
            AddressSpace::Paged { scheme, root } => {
                for page in Pages::new(scheme, root, max_tables, |at| entry(memory, at)) {
                    match page {
                        Ok(page) => ranges
                            .iter()
                            .filter_map(|range| part(&page, *range))
                            .for_each(|part| found.add(part, max)),
                        Err(_) => found.is_incomplete = true,
                    }
                }
            }
        }
        found
    }

    fn add(&mut self, part: Part, max: usize) {
        let is_free = self.parts.len() < max;
        match self.parts.last_mut() {
            Some(last) if last.continues_with(&part) => last.len = last.len.saturating_add(part.len),
            _ if is_free => self.parts.push(part),
            _ => self.is_incomplete = true,
        }
    }
}

/// The part of a page that is in a range of memory.
fn part(page: &Page, range: GuestRange) -> Option<Part> {
    let physical = GuestRange::new(page.phys, page.size.bytes())?.intersection(range)?;
    let offset = physical.start().checked_sub(page.phys)?;
    Some(Part {
        address: page.virt.checked_add(offset)?,
        physical: physical.start(),
        len: physical.len(),
        access: page.attributes.access,
    })
}

#[cfg(test)]
mod tests {
    use boot_paging::Scheme;

    use super::*;
    use crate::testing::Machine;

    fn part(address: u64, physical: u64, len: u64, access: Access) -> Part {
        Part {
            address,
            physical,
            len,
            access,
        }
    }

    #[test]
    fn adjacent_pages_are_one_part() {
        for scheme in Scheme::ALL {
            let machine = Machine::paged(
                scheme,
                &[
                    (0x4000_0000, 0x1000, 0x3000, Access::EXECUTE),
                    (0x4000_3000, 0x4000, 0x1000, Access::WRITE),
                    (0x4000_4000, 0x9000, 0x1000, Access::WRITE),
                    // Half of it is no memory: 1 MiB is its end.
                    (0x5000_0000, 0xf_f000, 0x2000, Access::WRITE),
                ],
            );
            let found = Parts::find(machine.space, &machine, 16, 16);
            let expected = [
                part(0x4000_0000, 0x1000, 0x3000, Access::EXECUTE),
                part(0x4000_3000, 0x4000, 0x1000, Access::WRITE),
                part(0x4000_4000, 0x9000, 0x1000, Access::WRITE),
                part(0x5000_0000, 0xf_f000, 0x1000, Access::WRITE),
            ];
            assert_eq!(
                (found.parts.as_slice(), found.is_incomplete),
                (&expected[..], false)
            );
            for (tables, parts, len) in [(16, 2, 2), (1, 16, 0)] {
                let found = Parts::find(machine.space, &machine, tables, parts);
                assert_eq!((found.parts.len(), found.is_incomplete), (len, true));
            }
        }
    }

    #[test]
    fn tables_that_map_themselves_end() {
        // Every entry of the root refers to the root: 512 GiB of a page again and again.
        let mut machine = Machine::paged(Scheme::X86_64, &[]);
        for at in (0x8_0000..0x8_1000).step_by(8) {
            machine.write(at, &0x8_0003_u64.to_le_bytes());
        }
        let found = Parts::find(machine.space, &machine, 1024, 100);
        assert_eq!((found.parts.len(), found.is_incomplete), (100, true));
    }
}
