//! Arbitrary page tables: a walk must end within its limit, the pages that it finds must translate, and mapping them in new
//! tables must give the same pages.

#![no_main]

use boot_paging::{Mapping, Page, PageSize, PageTables, Pages, Scheme, TranslateError, translate};
use libfuzzer_sys::fuzz_target;

/// Tables that a walk may read.
const MAX_TABLES: usize = 64;

/// Memory from address 0, as the input has it; zeros follow, up to the end of the last table.
struct Memory<'a>(&'a [u8]);

impl Memory<'_> {
    fn read(&self, addr: u64) -> Option<u64> {
        let addr = usize::try_from(addr).ok()?;
        if addr >= self.0.len().next_multiple_of(0x1000) {
            return None;
        }
        let mut entry = [0; 8];
        let bytes = self.0.get(addr..).unwrap_or_default();
        let len = bytes.len().min(8);
        entry[..len].copy_from_slice(&bytes[..len]);
        Some(u64::from_le_bytes(entry))
    }
}

fuzz_target!(|data: &[u8]| {
    let Some((choice, rest)) = data.split_first_chunk::<9>() else {
        return;
    };
    let scheme = Scheme::ALL[usize::from(choice[0]) % Scheme::ALL.len()];
    let virt = u64::from_le_bytes(std::array::from_fn(|index| choice[index + 1]));
    let memory = Memory(rest);

    let mut reads = 0;
    let found = translate(scheme, 0, virt, |addr| {
        reads += 1;
        memory.read(addr)
    });
    assert!(reads <= usize::from(scheme.levels()));
    match found {
        Ok(page) => check(scheme, &memory, virt, &page),
        Err(TranslateError::NotCanonical { .. }) => assert!(!scheme.is_canonical(virt)),
        Err(error) => assert!(scheme.is_canonical(virt), "{error}"),
    }

    let mut reads = 0;
    let pages: Vec<_> = Pages::new(scheme, 0, MAX_TABLES, |addr| {
        reads += 1;
        memory.read(addr)
    })
    .collect();
    assert!(reads <= MAX_TABLES * 512);

    let Ok(tables) = PageTables::new(scheme, 1 << 40, MAX_TABLES) else {
        panic!("tables at 1 TiB")
    };
    let mut tables = tables.with_max_page_size(PageSize::Size512G);
    for page in pages.into_iter().flatten() {
        check(scheme, &memory, page.virt, &page);
        let mapping = Mapping {
            virt: page.virt,
            phys: page.phys,
            len: page.size.bytes(),
            attributes: page.attributes,
        };
        // The new tables may be more than those of the input, which can share tables.
        if tables.map(&mapping).is_ok() {
            assert_eq!(tables.translate(page.virt), Ok(page));
        }
    }
});

/// Checks a page against its first and last byte.
fn check(scheme: Scheme, memory: &Memory<'_>, virt: u64, page: &Page) {
    let last = page.virt + (page.size.bytes() - 1);
    assert!(page.virt <= virt && virt <= last);
    assert_eq!(page.translate(last), Some(page.phys + (page.size.bytes() - 1)));
    assert_eq!(page.translate(last.wrapping_add(1)), None);
    for virt in [page.virt, last] {
        assert_eq!(translate(scheme, 0, virt, |addr| memory.read(addr)), Ok(*page));
    }
}
