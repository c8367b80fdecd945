//! Page tables that map memory to itself, for the 64-bit entry.
//!
//! Four levels with pages of 2 MiB, which every 64-bit CPU has (pages of 1 GiB are optional). Each GiB with something
//! to map costs one table of 4 KiB.

use alloc::vec::Vec;

use boot_core::{GuestRange, arith};

use crate::LinuxX86Error;

/// The end of the lower half of the canonical addresses: nothing from here on can be mapped to itself.
pub(crate) const END: u64 = 1 << 47;

/// The most that is ever mapped: 4 MiB of tables.
pub(crate) const MAX_MAPPED: u64 = 1 << 40;

/// The size of a table.
pub(crate) const TABLE_LEN: u64 = 0x1000;

const ENTRIES: usize = 512;
/// log2 of what one entry of a page directory maps.
const PAGE_SHIFT: u32 = 21;
/// log2 of what one page directory maps.
const DIRECTORY_SHIFT: u32 = 30;
/// log2 of what one page directory pointer table maps.
const POINTERS_SHIFT: u32 = 39;

/// Present, writable.
const TABLE: u64 = 0b11;
/// Present, writable, a large page.
const PAGE: u64 = 0b1000_0011;

/// What is to be mapped, and the tables that takes.
///
/// The tables lie one after the other: the top level first, then the page directory pointer tables, then the page
/// directories, each kind in the order of what it maps.
#[derive(Debug)]
pub(crate) struct IdentityMap {
    /// Sorted, apart from each other, aligned to pages.
    ranges: Vec<GuestRange>,
    /// Which GiB have a page directory.
    directories: Vec<u64>,
    /// Which 512 GiB have a page directory pointer table.
    pointers: Vec<u64>,
}

impl IdentityMap {
    /// The map of every page that holds a byte of `ranges`.
    pub(crate) fn new(ranges: impl IntoIterator<Item = GuestRange>) -> Result<Self, LinuxX86Error> {
        let ranges = merge(ranges)?;
        let len = ranges
            .iter()
            .fold(0, |sum: u64, range| sum.saturating_add(range.len()));
        if len > MAX_MAPPED {
            return Err(LinuxX86Error::TooMuchToMap { len, max: MAX_MAPPED });
        }
        let mut directories: Vec<u64> = ranges
            .iter()
            .filter_map(|range| Some((range.start(), range.end().checked_sub(1)?)))
            .flat_map(|(first, last)| first >> DIRECTORY_SHIFT..=last >> DIRECTORY_SHIFT)
            .collect();
        directories.dedup();
        let mut pointers: Vec<u64> = directories
            .iter()
            .map(|gib| gib >> (POINTERS_SHIFT - DIRECTORY_SHIFT))
            .collect();
        pointers.dedup();
        Ok(Self {
            ranges,
            directories,
            pointers,
        })
    }

    /// The size of all tables in bytes.
    pub(crate) fn len(&self) -> u64 {
        arith::to_u64(self.tables()).saturating_mul(TABLE_LEN)
    }

    fn tables(&self) -> usize {
        self.directories
            .len()
            .saturating_add(self.pointers.len())
            .saturating_add(1)
    }

    /// The tables for the address `base`, where the top level will be.
    pub(crate) fn build(&self, base: u64) -> Vec<u8> {
        let mut tables = Tables {
            base,
            entries: alloc::vec![0; self.tables().saturating_mul(ENTRIES)],
        };
        for (i, pointers) in self.pointers.iter().enumerate() {
            tables.set(0, *pointers, tables.address(pointers_table(i)) | TABLE);
        }
        for (i, gib) in self.directories.iter().enumerate() {
            let above = gib >> (POINTERS_SHIFT - DIRECTORY_SHIFT);
            if let Ok(parent) = self.pointers.binary_search(&above) {
                let child = tables.address(self.directory_table(i));
                tables.set(pointers_table(parent), *gib, child | TABLE);
            }
        }
        let pages = self
            .ranges
            .iter()
            .flat_map(|range| range.start() >> PAGE_SHIFT..range.end() >> PAGE_SHIFT);
        for page in pages {
            let gib = page >> (DIRECTORY_SHIFT - PAGE_SHIFT);
            if let Ok(directory) = self.directories.binary_search(&gib) {
                tables.set(self.directory_table(directory), page, page << PAGE_SHIFT | PAGE);
            }
        }
        tables
            .entries
            .iter()
            .flat_map(|entry| entry.to_le_bytes())
            .collect()
    }

    /// The number of the page directory with this index in [`IdentityMap::directories`].
    fn directory_table(&self, index: usize) -> usize {
        self.pointers.len().saturating_add(1).saturating_add(index)
    }
}

/// The number of the page directory pointer table with this index in [`IdentityMap::pointers`].
fn pointers_table(index: usize) -> usize {
    index.saturating_add(1)
}

struct Tables {
    base: u64,
    entries: Vec<u64>,
}

impl Tables {
    fn address(&self, table: usize) -> u64 {
        self.base
            .saturating_add(arith::to_u64(table).saturating_mul(TABLE_LEN))
    }

    /// Sets the entry of `table` that `number` (of a page, GiB or 512 GiB) selects by its low nine bits.
    fn set(&mut self, table: usize, number: u64, value: u64) {
        let index = usize::try_from(number).unwrap_or_default() % ENTRIES;
        let index = table.saturating_mul(ENTRIES).saturating_add(index);
        if let Some(entry) = self.entries.get_mut(index) {
            *entry = value;
        }
    }
}

/// The pages of `ranges`, sorted and with neighbours joined.
fn merge(ranges: impl IntoIterator<Item = GuestRange>) -> Result<Vec<GuestRange>, LinuxX86Error> {
    let mut pages = Vec::new();
    for range in ranges.into_iter().filter(|range| !range.is_empty()) {
        match range.aligned_out(1 << PAGE_SHIFT) {
            Some(page) if page.end() <= END => pages.push(page),
            _ => return Err(LinuxX86Error::BeyondPageTables { range, max: END }),
        }
    }
    pages.sort();
    pages.dedup_by(|later, earlier| {
        let touch = later.start() <= earlier.end();
        if touch {
            *earlier = earlier.span(*later);
        }
        touch
    });
    Ok(pages)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;

    fn range(start: u64, end: u64) -> GuestRange {
        GuestRange::from_bounds(start, end).unwrap()
    }

    /// What the tables at `base` translate `addr` to.
    fn translate(bytes: &[u8], base: u64, addr: u64) -> Option<u64> {
        let mut table = base;
        for shift in [39, 30, 21] {
            let at = usize::try_from(table - base + 8 * (addr >> shift & 0x1ff)).unwrap();
            let entry = u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap());
            let next = entry & 0x000f_ffff_ffff_f000;
            match entry & 0xfff {
                0 => return None,
                0x83 if shift == 21 => return Some(next | addr & 0x1f_ffff),
                0x03 if shift > 21 => table = next,
                flags => panic!("flags {flags:#x} at {shift}"),
            }
        }
        None
    }

    #[test]
    fn one_table_for_every_part_with_something_to_map() {
        let check = |ranges: &[GuestRange], tables: u64| {
            let base = 0x1234_5000;
            let map = IdentityMap::new(ranges.iter().copied()).unwrap();
            let bytes = map.build(base);
            assert_eq!(map.len(), tables * TABLE_LEN, "{ranges:?}");
            assert_eq!(arith::to_u64(bytes.len()), map.len());
            for range in ranges.iter().filter(|range| !range.is_empty()) {
                for addr in [
                    range.start(),
                    range.start().midpoint(range.end()),
                    range.end() - 1,
                ] {
                    assert_eq!(translate(&bytes, base, addr), Some(addr), "{ranges:?}");
                }
                // The ranges are far enough apart for their neighbourhood to be unmapped.
                let after = ((range.end() - 1) | 0x1f_ffff) + 1;
                if !ranges.iter().any(|range| range.contains_addr(after)) && after < END {
                    assert_eq!(translate(&bytes, base, after), None, "{ranges:?}");
                }
            }
        };
        check(&[], 1);
        check(&[range(5, 5)], 1);
        check(&[range(0, 1)], 3);
        check(&[range(0x1000, 0x2000), range(0x3000, 0x4000)], 3);
        check(&[range(GIB - 1, GIB + 1)], 4);
        check(&[range(0, 4 * GIB)], 6);
        check(&[range(8 * GIB, 8 * GIB + 1), range(0, 1)], 4);
        check(&[range(512 * GIB - 1, 512 * GIB + 1)], 5);
        check(&[range(0, 10), range(512 * GIB, 513 * GIB)], 5);
        check(&[range(END - 1, END)], 3);
        check(&[range(0, GIB), range(GIB / 2, 2 * GIB), range(GIB, GIB + 1)], 4);
        check(&[range(0, MAX_MAPPED)], 1 + 2 + 1024);
    }

    #[test]
    fn what_cannot_be_mapped_is_refused() {
        let check = |ranges: &[GuestRange], expected| {
            assert_eq!(IdentityMap::new(ranges.iter().copied()).unwrap_err(), expected);
        };
        for range in [
            range(END - 1, END + 1),
            range(END, END + 1),
            range(u64::MAX - 1, u64::MAX),
        ] {
            check(&[range], LinuxX86Error::BeyondPageTables { range, max: END });
        }
        check(
            &[range(0, MAX_MAPPED), range(END - 1, END)],
            LinuxX86Error::TooMuchToMap {
                len: MAX_MAPPED + (1 << PAGE_SHIFT),
                max: MAX_MAPPED,
            },
        );
    }
}
