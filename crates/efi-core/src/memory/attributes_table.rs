//! Entries of `EFI_MEMORY_ATTRIBUTES_TABLE`, UEFI 2.10 section 4.6.4.

use alloc::vec::Vec;

use super::map::MemoryMap;
use super::protections::Protections;
use super::types::{Attributes, Descriptor, MemoryType, PAGE_SIZE};

/// The entries of the table: the runtime regions of the map, divided where their access rights change.
///
/// `sections` are the access rights that the firmware names for its own sections and those that are in force; the rights of a
/// page are those of all of them together. Runtime data is never executable. The entries of a region cover all of it: a region
/// with a page of code that is both writable and executable is left out, by which the operating system knows that the region
/// allows no protection. At most `max_entries` are returned, for whole regions.
#[must_use]
pub fn attributes_table(map: &MemoryMap, sections: &[&Protections], max_entries: usize) -> Vec<Descriptor> {
    let mut entries: Vec<Descriptor> = Vec::new();
    for region in map.descriptors().filter(|region| region.kind.is_runtime()) {
        let room = max_entries.saturating_sub(entries.len());
        if let Some(parts) = divide(&region, sections).filter(|parts| parts.len() <= room) {
            entries.extend(parts);
        }
    }
    entries
}

/// The parts of a region with equal rights; `None` if it has code that is both writable and executable.
fn divide(region: &Descriptor, sections: &[&Protections]) -> Option<Vec<Descriptor>> {
    let base = if region.kind == MemoryType::RUNTIME_SERVICES_DATA {
        Attributes::XP
    } else {
        Attributes::empty()
    };
    let mut parts: Vec<Descriptor> = Vec::new();
    let mut start = region.start;
    loop {
        let mut rights = base;
        let mut last = region.last();
        for section in sections {
            let (attributes, run) = section.run(start);
            rights |= attributes & (Attributes::RO | Attributes::XP);
            last = last.min(run);
        }
        if rights.is_empty() {
            return None;
        }
        let len = last.saturating_sub(start).saturating_add(1);
        let pages = len.checked_div(PAGE_SIZE)?;
        let attributes = rights | Attributes::RUNTIME;
        match parts.last_mut() {
            Some(before) if before.attributes == attributes => {
                before.pages = before.pages.saturating_add(pages);
            }
            _ => parts.push(Descriptor {
                kind: region.kind,
                start,
                pages,
                attributes,
            }),
        }
        match last.checked_add(1) {
            Some(next) if last < region.last() => start = next,
            _ => return Some(parts),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::MapConfig;

    const CODE: MemoryType = MemoryType::RUNTIME_SERVICES_CODE;
    const DATA: MemoryType = MemoryType::RUNTIME_SERVICES_DATA;

    fn map(regions: &[(MemoryType, u64, u64)]) -> MemoryMap {
        let mut map = MemoryMap::new(MapConfig::default());
        for (kind, start, pages) in regions {
            map.add(&Descriptor::ram(*kind, *start, *pages)).unwrap();
        }
        map
    }

    fn check(
        regions: &[(MemoryType, u64, u64)],
        sections: &[&[(u64, u64, Attributes)]],
        expected: &[(MemoryType, u64, u64, Attributes)],
    ) {
        let make = |ranges: &&[(u64, u64, Attributes)]| {
            let mut section = Protections::new();
            for (start, pages, attributes) in *ranges {
                section.set(*start, pages * PAGE_SIZE, *attributes).unwrap();
            }
            section
        };
        let sections: Vec<_> = sections.iter().map(make).collect();
        let sections: Vec<_> = sections.iter().collect();
        let expected: Vec<_> = expected
            .iter()
            .map(|(kind, start, pages, attributes)| Descriptor {
                kind: *kind,
                start: *start,
                pages: *pages,
                attributes: *attributes | Attributes::RUNTIME,
            })
            .collect();
        assert_eq!(attributes_table(&map(regions), &sections, 3), expected);
    }

    #[test]
    fn regions_are_divided_by_their_sections() {
        let (ro, xp) = (Attributes::RO, Attributes::XP);
        let regions = [
            (MemoryType::CONVENTIONAL, 0x1000, 1),
            (CODE, 0x2000, 4),
            (DATA, 0x6000, 2),
        ];
        // Code without names is left out; data is not executable.
        check(&regions, &[], &[(DATA, 0x6000, 2, xp)]);
        check(&regions, &[&[(0x2000, 3, ro)]], &[(DATA, 0x6000, 2, xp)]);
        check(
            &regions,
            &[&[(0x2000, 1, Attributes::RP)]],
            &[(DATA, 0x6000, 2, xp)],
        );
        check(
            &regions,
            &[&[(0x1000, 3, ro)], &[(0x4000, 3, xp)]],
            &[
                (CODE, 0x2000, 2, ro),
                (CODE, 0x4000, 2, xp),
                (DATA, 0x6000, 2, xp),
            ],
        );
        // Four entries are more than three: a region is whole or left out.
        check(
            &regions,
            &[&[(0x2000, 1, ro), (0x3000, 1, ro | xp), (0x4000, 2, xp)]],
            &[
                (CODE, 0x2000, 1, ro),
                (CODE, 0x3000, 1, ro | xp),
                (CODE, 0x4000, 2, xp),
            ],
        );
        check(
            &regions,
            &[&[(0x2000, 1, ro), (0x3000, 1, xp), (0x4000, 1, ro), (0x5000, 1, xp)]],
            &[(DATA, 0x6000, 2, xp)],
        );
    }

    #[test]
    fn the_last_page_of_the_address_space_is_a_region() {
        let start = u64::MAX - 0xfff;
        let (ro, xp) = (Attributes::RO, Attributes::XP);
        check(&[(DATA, start, 1)], &[], &[(DATA, start, 1, xp)]);
        check(&[(CODE, start, 1)], &[&[(start, 1, ro)]], &[(CODE, start, 1, ro)]);
    }
}
