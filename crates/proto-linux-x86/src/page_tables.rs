//! Identity-mapping page tables for the 64-bit entry (boot.rst, "64-bit Boot Protocol").
//!
//! Four levels with pages of 2 MiB, which every 64-bit CPU supports (pages of 1 GiB are optional). Each GiB that contains a
//! mapping needs one page directory of 4 KiB.

use alloc::vec::Vec;

use boot_core::{GuestRange, arith};
use zerocopy::FromBytes as _;
use zerocopy::little_endian::U64;

use crate::error::LinuxX86Error;

/// End of the lower half of the canonical addresses. Higher addresses cannot be identity-mapped.
pub const MAX_ADDRESS: u64 = 1 << 47;

/// Largest mapping in bytes. It needs 4 MiB of tables.
pub const MAX_MAPPED: u64 = 1 << 40;

/// Size of a table in bytes.
const TABLE_LEN: u64 = 0x1000;

const ENTRIES: usize = 512;
/// log2 of the bytes that one entry of a page directory maps.
const PAGE_SHIFT: u32 = 21;
/// log2 of the bytes that one page directory maps.
const DIRECTORY_SHIFT: u32 = 30;
/// log2 of the bytes that one page directory pointer table maps.
const PDPT_SHIFT: u32 = 39;

/// Present, writable.
const TABLE: u64 = 0b11;
/// Present, writable, a large page.
const PAGE: u64 = 0b1000_0011;

/// An identity mapping, and the tables that it needs.
///
/// The tables are contiguous: the PML4 first, then the page directory pointer tables (PDPT), then the page directories, each
/// kind by address.
///
/// ```
/// use boot_core::GuestRange;
/// use proto_linux_x86::page_tables::IdentityMap;
///
/// // The first 4 GiB: a PML4, a PDPT and four page directories.
/// let map = IdentityMap::new([GuestRange::from_bounds(0, 4 << 30).unwrap()])?;
/// assert_eq!(map.size(), 6 * 0x1000);
/// let tables = map.build(0x9000);
/// // The first entry of the PML4, at the address for CR3, refers to the PDPT: present and writable.
/// assert_eq!(tables[..8], 0xa003_u64.to_le_bytes());
/// # Ok::<(), proto_linux_x86::LinuxX86Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct IdentityMap {
    /// Mapped ranges: sorted, disjoint, aligned to pages of 2 MiB.
    ranges: Vec<GuestRange>,
    /// The parts of 1 GiB that have a page directory: address divided by 1 GiB, sorted.
    directories: Vec<u64>,
    /// The parts of 512 GiB that have a PDPT: address divided by 512 GiB, sorted.
    pdpts: Vec<u64>,
}

impl IdentityMap {
    /// The mapping of all pages of 2 MiB that overlap `ranges`. They may overlap and have any order.
    ///
    /// # Errors
    ///
    /// [`LinuxX86Error::BeyondPageTables`] for a range beyond [`MAX_ADDRESS`], or [`LinuxX86Error::MappingTooLarge`] for pages
    /// of more than [`MAX_MAPPED`] bytes in total.
    pub fn new(ranges: impl IntoIterator<Item = GuestRange>) -> Result<Self, LinuxX86Error> {
        Self::of_pages(merge(ranges.into_iter().collect())?)
    }

    /// The mapping of these ranges: sorted, disjoint, aligned to pages of 2 MiB.
    fn of_pages(ranges: Vec<GuestRange>) -> Result<Self, LinuxX86Error> {
        let len = ranges
            .iter()
            .fold(0, |sum: u64, range| sum.saturating_add(range.len()));
        if len > MAX_MAPPED {
            return Err(LinuxX86Error::MappingTooLarge { len, max: MAX_MAPPED });
        }
        let mut directories: Vec<u64> = ranges
            .iter()
            .filter_map(|range| Some((range.start(), range.end().checked_sub(1)?)))
            .flat_map(|(first, last)| first >> DIRECTORY_SHIFT..=last >> DIRECTORY_SHIFT)
            .collect();
        directories.dedup();
        let mut pdpts: Vec<u64> = directories
            .iter()
            .map(|gib| gib >> (PDPT_SHIFT - DIRECTORY_SHIFT))
            .collect();
        pdpts.dedup();
        Ok(Self {
            ranges,
            directories,
            pdpts,
        })
    }

    /// Size of all tables in bytes: a multiple of 4 KiB, never zero.
    #[must_use]
    pub fn size(&self) -> u64 {
        arith::to_u64(self.tables()).saturating_mul(TABLE_LEN)
    }

    fn tables(&self) -> usize {
        self.directories
            .len()
            .saturating_add(self.pdpts.len())
            .saturating_add(1)
    }

    /// The tables, to be loaded at `base`, a multiple of 4 KiB below 2⁵². CR3 is `base` then.
    #[must_use]
    pub fn build(&self, base: u64) -> Vec<u8> {
        let len = usize::try_from(self.size()).unwrap_or(usize::MAX);
        let mut bytes = alloc::vec![0; len];
        // Never `Err`: the length is a multiple of that of an entry, and entries have no alignment.
        let Ok(entries) = <[U64]>::mut_from_bytes(&mut bytes) else {
            return bytes;
        };
        let mut tables = Tables { base, entries };
        for (i, pdpt) in self.pdpts.iter().enumerate() {
            tables.set(0, *pdpt, tables.address(pdpt_table(i)) | TABLE);
        }
        for (i, gib) in self.directories.iter().enumerate() {
            let above = gib >> (PDPT_SHIFT - DIRECTORY_SHIFT);
            if let Ok(parent) = self.pdpts.binary_search(&above) {
                let child = tables.address(self.directory_table(i));
                tables.set(pdpt_table(parent), *gib, child | TABLE);
            }
        }
        for range in &self.ranges {
            self.set_pages(&mut tables, *range);
        }
        bytes
    }

    /// Sets the entries of the pages of `range`, directory by directory.
    fn set_pages(&self, tables: &mut Tables<'_>, range: GuestRange) {
        let end = range.end() >> PAGE_SHIFT;
        let mut page = range.start() >> PAGE_SHIFT;
        while page < end {
            let gib = page >> (DIRECTORY_SHIFT - PAGE_SHIFT);
            let next = gib.saturating_add(1) << (DIRECTORY_SHIFT - PAGE_SHIFT);
            if let Ok(directory) = self.directories.binary_search(&gib) {
                let entries = tables.run(self.directory_table(directory), page, next.min(end));
                for (entry, page) in entries.iter_mut().zip(page..) {
                    entry.set(page << PAGE_SHIFT | PAGE);
                }
            }
            page = next;
        }
    }

    /// The table number of the page directory with this index in [`IdentityMap::directories`].
    fn directory_table(&self, index: usize) -> usize {
        self.pdpts.len().saturating_add(1).saturating_add(index)
    }
}

/// The table number of the PDPT with this index in [`IdentityMap::pdpts`].
fn pdpt_table(index: usize) -> usize {
    index.saturating_add(1)
}

/// Tables that will be at `base`.
struct Tables<'a> {
    base: u64,
    entries: &'a mut [U64],
}

impl Tables<'_> {
    fn address(&self, table: usize) -> u64 {
        self.base
            .saturating_add(arith::to_u64(table).saturating_mul(TABLE_LEN))
    }

    /// Sets an entry of `table`. `number` is an address divided by the size of what one entry maps.
    fn set(&mut self, table: usize, number: u64, value: u64) {
        if let [entry] = self.run(table, number, number.saturating_add(1)) {
            entry.set(value);
        }
    }

    /// The entries of `table` for the numbers from `first` up to `end`, whose low nine bits are the indices of the entries.
    fn run(&mut self, table: usize, first: u64, end: u64) -> &mut [U64] {
        let len = usize::try_from(end.saturating_sub(first)).unwrap_or(usize::MAX);
        let index = usize::try_from(first).unwrap_or_default() % ENTRIES;
        let start = table.saturating_mul(ENTRIES).saturating_add(index);
        let entries = self.entries.get_mut(start..start.saturating_add(len));
        entries.unwrap_or_default()
    }
}

/// The pages of `ranges`, sorted, with adjacent and overlapping ranges merged.
fn merge(ranges: Vec<GuestRange>) -> Result<Vec<GuestRange>, LinuxX86Error> {
    let mut pages = Vec::new();
    for range in ranges.into_iter().filter(|range| !range.is_empty()) {
        match range.aligned_out(1 << PAGE_SHIFT) {
            Some(page) if page.end() <= MAX_ADDRESS => pages.push(page),
            _ => {
                return Err(LinuxX86Error::BeyondPageTables {
                    range,
                    max: MAX_ADDRESS,
                });
            }
        }
    }
    pages.sort_unstable();
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
    fn tables_map_the_ranges_and_nothing_else() {
        let check = |ranges: &[GuestRange], tables: u64| {
            let base = 0x1234_5000;
            let map = IdentityMap::new(ranges.iter().copied()).unwrap();
            let bytes = map.build(base);
            assert_eq!(map.size(), tables * TABLE_LEN, "{ranges:?}");
            assert_eq!(arith::to_u64(bytes.len()), map.size());
            for range in ranges.iter().filter(|range| !range.is_empty()) {
                for addr in [
                    range.start(),
                    range.start().midpoint(range.end()),
                    range.end() - 1,
                ] {
                    assert_eq!(translate(&bytes, base, addr), Some(addr), "{ranges:?}");
                }
                // The page after a range is not mapped unless another range is there.
                let after = ((range.end() - 1) | 0x1f_ffff) + 1;
                if !ranges.iter().any(|range| range.contains_addr(after)) && after < MAX_ADDRESS {
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
        check(&[range(MAX_ADDRESS - 1, MAX_ADDRESS)], 3);
        check(&[range(0, GIB), range(GIB / 2, 2 * GIB), range(GIB, GIB + 1)], 4);
        check(&[range(0, MAX_MAPPED)], 1 + 2 + 1024);
    }

    #[test]
    fn unmappable_ranges_are_refused() {
        let check = |ranges: &[GuestRange], expected| {
            assert_eq!(IdentityMap::new(ranges.iter().copied()).unwrap_err(), expected);
        };
        for range in [
            range(MAX_ADDRESS - 1, MAX_ADDRESS + 1),
            range(MAX_ADDRESS, MAX_ADDRESS + 1),
            range(u64::MAX - 1, u64::MAX),
        ] {
            check(
                &[range],
                LinuxX86Error::BeyondPageTables {
                    range,
                    max: MAX_ADDRESS,
                },
            );
        }
        check(
            &[range(0, MAX_MAPPED), range(MAX_ADDRESS - 1, MAX_ADDRESS)],
            LinuxX86Error::MappingTooLarge {
                len: MAX_MAPPED + (1 << PAGE_SHIFT),
                max: MAX_MAPPED,
            },
        );
    }
}
