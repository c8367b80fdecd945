//! Properties of page tables, compared with a model: a list of mappings.

use std::collections::BTreeMap;

use boot_paging::{
    Access, Attributes, MapError, Mapping, MemoryType, Page, PageSize, PageTables, Pages, Scheme,
    TranslateError, translate,
};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

const TABLES: u64 = 0x8000_0000;

fn schemes() -> impl Strategy<Value = Scheme> {
    select(Scheme::ALL.to_vec())
}

fn attributes() -> impl Strategy<Value = Attributes> {
    let memory = select(vec![MemoryType::Normal, MemoryType::Device]);
    let access = (0..=Access::all().bits()).prop_map(Access::from_bits_truncate);
    (access, memory).prop_map(|(access, memory)| Attributes { access, memory })
}

/// Lengths and distances of a few pages of each size, with and without a remainder.
fn sizes() -> impl Strategy<Value = u64> {
    let page = select(vec![12, 21, 30]);
    (0_u64..4, page, 0_u64..4).prop_map(|(count, shift, rest)| (count << shift) + (rest << 12))
}

/// Mappings that are near each other, at the edges of the address space or in its middle, and now and then invalid.
fn mappings() -> impl Strategy<Value = Vec<Mapping>> {
    let base = select(vec![
        0,
        0x3f_ffff_f000,
        0x40_0000_0000,
        0x7fff_ffff_f000,
        0xffff_8000_0000_0000,
        0xffff_ffc0_0000_0000,
        0xffff_ffff_ffe0_0000,
    ]);
    let virt = (base, sizes()).prop_map(|(base, offset): (u64, u64)| base.wrapping_add(offset));
    let phys = (select(vec![0, 1 << 30, 1 << 47, 1 << 51]), sizes())
        .prop_map(|(base, offset): (u64, u64)| base + offset);
    let odd = prop_oneof![20 => Just(0), 1 => 1_u64..0x1000];
    let mapping =
        (virt, phys, sizes(), attributes(), odd).prop_map(|(virt, phys, len, attributes, odd)| Mapping {
            virt: virt.wrapping_add(odd),
            phys,
            len,
            attributes,
        });
    vec(mapping, 1..12)
}

/// The mappings that were accepted, by virtual address.
#[derive(Default)]
struct Model(BTreeMap<u64, Mapping>);

impl Model {
    fn find(&self, virt: u64) -> Option<&Mapping> {
        let (_, mapping) = self.0.range(..=virt).next_back()?;
        (virt - mapping.virt < mapping.len).then_some(mapping)
    }

    /// The first address of a mapping that is mapped, and where.
    fn overlap(&self, new: &Mapping) -> Option<(u64, u64)> {
        if let Some(found) = self.find(new.virt) {
            return Some((new.virt, found.phys + (new.virt - found.virt)));
        }
        let (virt, found) = self.0.range(new.virt..=new.virt + (new.len - 1)).next()?;
        Some((*virt, found.phys))
    }
}

/// What a device page is on this scheme, and a page that is copied at a write.
fn seen(scheme: Scheme, mut attributes: Attributes) -> Attributes {
    if attributes.access.contains(Access::COPY_ON_WRITE) {
        attributes.access.remove(Access::WRITE);
    }
    match scheme {
        Scheme::Sv39 | Scheme::Sv48 => Attributes::normal(attributes.access),
        _ => attributes,
    }
}

/// Checks the translation of one address against the model.
fn check(tables: &PageTables, model: &Model, virt: u64) -> Result<(), TestCaseError> {
    let scheme = tables.scheme();
    match (tables.translate(virt), model.find(virt)) {
        (Ok(page), Some(mapping)) => {
            prop_assert_eq!(page.translate(virt), Some(mapping.phys + (virt - mapping.virt)));
            prop_assert_eq!(page.attributes, seen(scheme, mapping.attributes));
            prop_assert!(page.virt % page.size.bytes() == 0 && page.phys % page.size.bytes() == 0);
        }
        (Err(TranslateError::NotMapped { virt: at, .. }), None) => prop_assert_eq!(at, virt),
        (Err(TranslateError::NotCanonical { virt: at }), None) => {
            prop_assert!(at == virt && !scheme.is_canonical(virt));
        }
        (found, expected) => prop_assert!(false, "{virt:#x}: {found:?}, expected {expected:?}"),
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]

    /// A mapping is accepted if it is valid, free and fits; a refused one changes nothing. Every address then translates as the
    /// model does, and the walk over all pages finds each page once.
    #[test]
    fn tables_translate_like_a_list_of_mappings(
        scheme in schemes(),
        mappings in mappings(),
        max_tables in prop_oneof![Just(1_usize), 2..12_usize, Just(40)],
        max_page in select(vec![PageSize::Size4K, PageSize::Size2M, PageSize::Size1G, PageSize::Size512G]),
        probes in vec((any::<Index>(), any::<u64>()), 8),
    ) {
        let mut tables = PageTables::new(scheme, TABLES, max_tables).unwrap().with_max_page_size(max_page);
        let mut model = Model::default();
        for mapping in &mappings {
            let before = tables.clone();
            let Mapping { virt, phys, len, .. } = *mapping;
            match tables.map(mapping) {
                Ok(()) => {
                    prop_assert!(len > 0 && (virt | phys | len) % 0x1000 == 0);
                    let last = virt + (len - 1);
                    prop_assert!(scheme.is_canonical(virt) && scheme.is_canonical(last));
                    prop_assert!((phys + len - 1) >> scheme.physical_bits() == 0);
                    prop_assert_eq!(model.overlap(mapping), None);
                    model.0.insert(virt, *mapping);
                }
                Err(error) => {
                    prop_assert_eq!(&tables, &before);
                    match error {
                        MapError::Mapped { virt, phys } => prop_assert_eq!(model.overlap(mapping), Some((virt, phys))),
                        MapError::TooManyTables { needed, available } => {
                            prop_assert_eq!(available, max_tables - tables.tables().len());
                            prop_assert!(needed > available);
                        }
                        MapError::Misaligned { value, .. } => prop_assert!(value % 0x1000 != 0),
                        MapError::Empty { .. } => prop_assert_eq!(len, 0),
                        MapError::NotCanonical { .. } => {
                            let last = virt.checked_add(len - 1);
                            let is_within = |last| scheme.is_canonical(virt) && scheme.is_canonical(last) && (virt ^ last) >> 63 == 0;
                            prop_assert!(!last.is_some_and(is_within));
                        }
                        MapError::PhysicalTooLarge { .. } => prop_assert!((phys + len - 1) >> scheme.physical_bits() != 0),
                        other => prop_assert!(false, "{other}"),
                    }
                }
            }
            prop_assert!(tables.tables().len() <= max_tables);
        }
        // The access to all pages changes there and back, and with it no address.
        let before = tables.clone();
        for mapping in model.0.values() {
            let access = mapping.attributes.access;
            let memory = tables.translate(mapping.virt).unwrap().attributes.memory;
            let other = access ^ Access::EXECUTE;
            prop_assert_eq!(tables.protect(mapping.virt, mapping.len, other), Ok(()));
            prop_assert_eq!(tables.translate(mapping.virt).unwrap().attributes.memory, memory);
            prop_assert_eq!(tables.protect(mapping.virt, mapping.len, access), Ok(()));
        }
        prop_assert_eq!(&tables, &before);
        for mapping in &mappings {
            let last = mapping.virt.wrapping_add(mapping.len).wrapping_sub(1);
            for virt in [mapping.virt, mapping.virt.wrapping_sub(1), last, last.wrapping_add(1)] {
                check(&tables, &model, virt)?;
            }
        }
        for (index, offset) in probes {
            let mapping = index.get(&mappings);
            check(&tables, &model, mapping.virt.wrapping_add(offset % mapping.len.max(1)))?;
            check(&tables, &model, offset)?;
        }
        // The walk finds all pages, in order, and reads each table once.
        let count = tables.tables().len();
        let pages: Vec<Page> = Pages::new(scheme, TABLES, count, |addr| tables.read(addr)).collect::<Result<_, _>>().unwrap();
        let mut mapped = 0;
        for page in &pages {
            prop_assert_eq!(tables.translate(page.virt), Ok(*page));
            prop_assert!(page.size <= max_page);
            mapped += page.size.bytes();
        }
        prop_assert!(pages.windows(2).all(|pair| pair[0].virt < pair[1].virt));
        prop_assert_eq!(mapped, model.0.values().map(|mapping| mapping.len).sum::<u64>());
    }

    /// Arbitrary tables, which refer to themselves and out of memory: each walk ends, within its limit of reads.
    #[test]
    fn walks_of_arbitrary_tables_end(
        scheme in schemes(),
        entries in vec((0_u64..6, any::<u8>(), any::<u16>(), any::<bool>()), 1..60),
        places in vec((any::<Index>(), 0_usize..512), 60),
        virt in any::<u64>(),
    ) {
        const PAGES: usize = 4;
        let mut memory = vec![[0_u64; 512]; PAGES];
        for (entry, (page, index)) in entries.iter().zip(&places) {
            let (target, low, high, is_riscv) = *entry;
            // Mostly valid entries that refer to one of the tables, or past them.
            let addr = target << 12;
            let addr = if is_riscv { addr >> 2 } else { addr };
            memory[page.index(PAGES)][*index % 16] = addr | u64::from(low | 1) | u64::from(high & 0x8001) << 48;
        }
        let mut reads = 0;
        let mut read = |addr: u64| {
            reads += 1;
            let table = memory.get(usize::try_from(addr >> 12).ok()?)?;
            table.get(usize::try_from(addr & 0xfff).ok()? / 8).copied()
        };
        let virt = virt & 0x0783_c1e0_f000;
        if let Ok(page) = translate(scheme, 0, virt, &mut read) {
            prop_assert!(page.translate(virt).is_some());
        }
        prop_assert!(reads <= usize::from(scheme.levels()));
        reads = 0;
        let mut read = |addr: u64| {
            reads += 1;
            let table = memory.get(usize::try_from(addr >> 12).ok()?)?;
            table.get(usize::try_from(addr & 0xfff).ok()? / 8).copied()
        };
        let found: Vec<_> = Pages::new(scheme, 0, 50, &mut read).collect();
        prop_assert!(reads <= 50 * 512);
        for page in found.into_iter().flatten() {
            let again = translate(scheme, 0, page.virt, |addr| {
                memory.get(usize::try_from(addr >> 12).ok()?)?.get(usize::try_from(addr & 0xfff).ok()? / 8).copied()
            });
            prop_assert_eq!(again, Ok(page));
        }
    }
}
