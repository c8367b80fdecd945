//! Memory services against a list of pages and a list of allocations.

use std::collections::BTreeMap;

use efi_core::Status;
use efi_core::memory::{
    Attributes, Descriptor, MapConfig, MemoryMap, MemoryType, Owner, PAGE_SIZE, Placement, Pool, Protections,
    attributes_table,
};

use super::arguments::Arguments;

/// First pages of two ranges of RAM, and their number; the second one is above the limit of allocations.
const RANGES: [(u64, u64); 2] = [(0x100, 96), (0x10_0000, 64)];
const KINDS: [u32; 9] = [0, 1, 2, 4, 5, 6, 7, 16, 0x8000_0000];

type Pages = BTreeMap<u64, (u32, Owner)>;

pub(crate) struct Model {
    map: MemoryMap,
    pool: Pool,
    unit: u64,
    /// Type and owner of every page.
    pages: Pages,
    /// Size and type of pool allocations by their address.
    pieces: BTreeMap<u64, (u64, u32)>,
    sections: Protections,
    /// Access rights of pages with any.
    rights: BTreeMap<u64, Attributes>,
}

impl Model {
    pub(crate) fn new(unit: u64) -> Self {
        let mut map = MemoryMap::new(MapConfig::default().with_runtime_granularity(unit));
        let mut pages = Pages::new();
        for (start, count) in RANGES {
            map.add(&Descriptor::ram(MemoryType::CONVENTIONAL, start << 12, count))
                .unwrap();
            pages.extend((start..start + count).map(|page| (page, (7, Owner::Nobody))));
        }
        Self {
            map,
            pool: Pool::new(),
            unit,
            pages,
            pieces: BTreeMap::new(),
            sections: Protections::new(),
            rights: BTreeMap::new(),
        }
    }

    pub(crate) fn step(&mut self, arguments: &mut Arguments<'_>) {
        let (key, before): (_, Vec<_>) = (self.map.key(), self.map.descriptors().collect());
        match arguments.below(9) {
            8 => self.name_section(arguments),
            0 | 1 => self.allocate(arguments),
            2 | 3 => self.free(arguments),
            4 | 5 => self.allocate_pool(arguments),
            _ => self.free_pool(arguments),
        }
        let after: Vec<_> = self.map.descriptors().collect();
        assert_eq!(
            key == self.map.key(),
            before == after,
            "the key changes exactly with the map"
        );
        self.check(&after);
    }

    /// The unit of a type.
    fn unit_of(&self, kind: u32) -> u64 {
        if [0, 5, 6, 10].contains(&kind) {
            self.unit
        } else {
            1
        }
    }

    fn set(&mut self, start: u64, count: u64, kind: u32, owner: Owner) {
        for page in start..start + count {
            let old = self.pages.insert(page, (kind, owner)).expect("a page of the map");
            assert!(
                old.1 == Owner::Nobody || owner == Owner::Nobody,
                "{page:#x} was allocated: {old:?}"
            );
        }
    }

    fn allocate(&mut self, arguments: &mut Arguments<'_>) {
        let kind = KINDS[usize::from(arguments.byte()) % KINDS.len()];
        let count = arguments.number();
        let address = (arguments.number() << 12).wrapping_add(RANGES[0].0 << 12);
        let placement = match arguments.below(3) {
            0 => Placement::Any,
            1 => Placement::Max(address.wrapping_sub(1)),
            _ => Placement::At(address),
        };
        let Ok(start) = self.map.allocate(placement, MemoryType(kind), count) else {
            return;
        };
        assert!(kind != 7 && kind != 16 && count > 0);
        let count = count.next_multiple_of(self.unit_of(kind));
        assert_eq!((start >> 12) % self.unit_of(kind), 0);
        match placement {
            Placement::Max(last) => assert!(start + (count << 12) - 1 <= last),
            Placement::At(address) => assert_eq!(start, address),
            Placement::Any => (),
        }
        self.set(start >> 12, count, kind, Owner::Pages);
    }

    fn free(&mut self, arguments: &mut Arguments<'_>) {
        let owned: Vec<u64> = self
            .pages
            .iter()
            .filter(|(_, (_, owner))| *owner == Owner::Pages)
            .map(|(page, _)| *page)
            .collect();
        let start = arguments.pick(&owned, RANGES[0].0 + 3);
        let count = arguments.number() % 40;
        let first = self.pages.get(&start).copied();
        let unit = first.map_or(1, |(kind, _)| self.unit_of(kind));
        let all = count.next_multiple_of(unit);
        let is_owned = (start..start + all).all(|page| {
            let page = self.pages.get(&page);
            page.is_some_and(|(kind, owner)| *owner == Owner::Pages && self.unit_of(*kind) == unit)
        });
        let expected = count > 0 && start.checked_rem(unit) == Some(0) && is_owned;
        let freed = self.map.free(start << 12, count);
        assert_eq!(freed.is_ok(), expected, "{start:#x} {count}: {freed:?}");
        if expected {
            self.set(start, all, 7, Owner::Nobody);
        }
    }

    fn allocate_pool(&mut self, arguments: &mut Arguments<'_>) {
        let kind = KINDS[usize::from(arguments.byte()) % KINDS.len()];
        let size = u64::from(arguments.byte()) << arguments.below(8);
        let Ok(start) = self.pool.allocate(&mut self.map, MemoryType(kind), size) else {
            return;
        };
        assert!(kind != 7 && kind != 16 && start % 16 == 0);
        let end = start + size.max(1);
        let before = self.pieces.range(..end).next_back();
        assert!(
            before.is_none_or(|(other, (size, _))| other + (*size).max(1) <= start),
            "{start:#x} overlaps"
        );
        self.pieces.insert(start, (size, kind));
        self.take_pool_pages();
    }

    fn free_pool(&mut self, arguments: &mut Arguments<'_>) {
        let known: Vec<u64> = self.pieces.keys().copied().collect();
        let offset = if arguments.below(8) == 0 {
            arguments.number()
        } else {
            0
        };
        let address = arguments.pick(&known, 0x10_0000).wrapping_add(offset);
        let expected = if self.pieces.remove(&address).is_some() {
            Ok(())
        } else {
            Err(Status::INVALID_PARAMETER)
        };
        assert_eq!(self.pool.free(&mut self.map, address), expected);
        self.take_pool_pages();
    }

    /// Which pages the pool has is its own matter, but it takes free ones only.
    fn take_pool_pages(&mut self) {
        for (page, (kind, owner)) in &mut self.pages {
            let (descriptor, found) = self.map.at(page << 12).expect("a page of the map");
            match (*owner, found) {
                (Owner::Nobody | Owner::Pool, Owner::Pool | Owner::Nobody) => {
                    (*kind, *owner) = (descriptor.kind.0, found);
                }
                (old, new) => assert_eq!(old, new),
            }
        }
    }

    fn name_section(&mut self, arguments: &mut Arguments<'_>) {
        let (range, _) = RANGES[usize::from(arguments.byte() & 1)];
        let (start, count) = (range + arguments.below(96), arguments.below(8) + 1);
        let all = [Attributes::RO, Attributes::XP, Attributes::RP];
        let rights = all[usize::from(arguments.byte()) % 3];
        self.sections
            .set(start << 12, count << 12, rights)
            .expect("whole pages");
        for page in start..start + count {
            *self.rights.entry(page).or_default() |= rights;
        }
    }

    /// The entries of the memory attributes table, page by page.
    fn check_attributes_table(&self, descriptors: &[Descriptor]) {
        let entries = attributes_table(&self.map, &[&self.sections], usize::MAX);
        let mut found: BTreeMap<u64, (MemoryType, Attributes)> = BTreeMap::new();
        for entry in &entries {
            for page in 0..entry.pages {
                let page = (entry.start / PAGE_SIZE) + page;
                let old = found.insert(page, (entry.kind, entry.attributes));
                assert!(old.is_none(), "{page:#x} has two entries");
            }
        }
        for region in descriptors.iter().filter(|region| region.kind.is_runtime()) {
            let first = region.start / PAGE_SIZE;
            let expected: Vec<_> = (first..first + region.pages)
                .map(|page| {
                    let mut rights = self.rights.get(&page).copied().unwrap_or_default();
                    rights.remove(Attributes::RP);
                    if region.kind == MemoryType::RUNTIME_SERVICES_DATA {
                        rights |= Attributes::XP;
                    }
                    rights
                })
                .collect();
            let is_left_out = expected.iter().any(Attributes::is_empty);
            for (page, rights) in (first..).zip(expected) {
                let expected = (region.kind, rights | Attributes::RUNTIME);
                let expected = Some(expected).filter(|_| !is_left_out);
                assert_eq!(found.remove(&page), expected, "{page:#x}");
            }
        }
        assert!(found.is_empty(), "an entry for no runtime region: {found:x?}");
    }

    fn check(&self, descriptors: &[Descriptor]) {
        self.check_attributes_table(descriptors);
        let mut pages = self.pages.iter();
        let mut last: Option<&Descriptor> = None;
        for descriptor in descriptors {
            if let Some(last) = last {
                assert!(last.last() < descriptor.start);
                let is_neighbour = last.last() + 1 == descriptor.start;
                assert!(
                    !is_neighbour || (last.kind, last.attributes) != (descriptor.kind, descriptor.attributes)
                );
            }
            for page in 0..descriptor.pages {
                let found = pages.next().map(|(page, (kind, _))| (*page, *kind));
                assert_eq!(found, Some(((descriptor.start >> 12) + page, descriptor.kind.0)));
            }
            last = Some(descriptor);
        }
        assert_eq!(pages.next(), None, "no page is lost");
        for (address, (size, kind)) in &self.pieces {
            assert!(self.pool.room(*address).is_some_and(|room| room >= *size));
            assert_eq!(self.pages[&(address >> 12)], (*kind, Owner::Pool));
        }
    }
}
