//! New page tables.

mod protect;

use alloc::vec;
use alloc::vec::Vec;

use crate::attributes::Attributes;
use crate::entry::Entry;
use crate::error::{MapError, MappingPart, TablesError, TranslateError};
use crate::scheme::{ENTRIES, PageSize, Scheme};
use crate::walk::{self, Page};

/// A virtual range and the physical range that it refers to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mapping {
    /// First virtual address, a multiple of 4 KiB.
    pub virt: u64,
    /// First physical address, a multiple of 4 KiB.
    pub phys: u64,
    /// Length in bytes, a multiple of 4 KiB and not 0.
    pub len: u64,
    /// Attributes of all its pages.
    pub attributes: Attributes,
}

impl Mapping {
    /// The mapping of a physical range to the same virtual addresses.
    #[must_use]
    pub const fn identity(addr: u64, len: u64, attributes: Attributes) -> Self {
        Self {
            virt: addr,
            phys: addr,
            len,
            attributes,
        }
    }
}

/// Page tables in a contiguous range of guest memory. The root is the first table.
///
/// Each mapping takes the largest pages that its addresses and length permit, up to a maximum.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageTables {
    scheme: Scheme,
    addr: u64,
    max_tables: usize,
    max_page: PageSize,
    tables: Vec<[u64; ENTRIES]>,
}

/// Size of a table in bytes.
const TABLE: u64 = 0x1000;

impl PageTables {
    /// Empty page tables at the physical address `addr`, with space for `max_tables` tables of 4 KiB, with pages up to 2 MiB.
    ///
    /// # Errors
    ///
    /// The address is not a multiple of 4 KiB, the tables exceed the width of a physical address, or `max_tables` is 0.
    pub fn new(scheme: Scheme, addr: u64, max_tables: usize) -> Result<Self, TablesError> {
        if addr % TABLE != 0 {
            return Err(TablesError::Misaligned { addr });
        }
        if max_tables == 0 {
            return Err(TablesError::NoRoot);
        }
        let bits = scheme.physical_bits();
        let end = u64::try_from(max_tables)
            .ok()
            .and_then(|tables| tables.checked_mul(TABLE))
            .and_then(|len| len.checked_add(addr));
        if end.is_none_or(|end| end > 1 << bits) {
            let tables = max_tables;
            return Err(TablesError::TooLarge { addr, tables, bits });
        }
        Ok(Self {
            scheme,
            addr,
            max_tables,
            max_page: PageSize::Size2M,
            tables: vec![[0; ENTRIES]],
        })
    }

    /// Sets the largest page size of the mappings that follow, within that of the [scheme](Scheme::max_page_size).
    #[must_use]
    pub fn with_max_page_size(self, max_page: PageSize) -> Self {
        Self {
            max_page: max_page.min(self.scheme.max_page_size()),
            ..self
        }
    }

    /// The scheme.
    #[must_use]
    pub const fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// The physical address of the root table.
    #[must_use]
    pub const fn root(&self) -> u64 {
        self.addr
    }

    /// The value of the register that refers to the root table: `CR3`, `TTBR0_EL1` with ASID 0, or `satp` with ASID 0.
    #[must_use]
    pub const fn root_register(&self) -> u64 {
        match self.scheme {
            Scheme::X86_64 | Scheme::Arm64 => self.addr,
            Scheme::Sv39 => 8 << 60 | self.addr >> 12,
            Scheme::Sv48 => 9 << 60 | self.addr >> 12,
        }
    }

    /// The tables in the order of their addresses: the first is at [`root`](Self::root), each other 4 KiB after the one before.
    /// Entries are numbers; in memory they are little-endian.
    #[must_use]
    pub fn tables(&self) -> &[[u64; ENTRIES]] {
        &self.tables
    }

    /// The bytes of the tables, for guest memory at [`root`](Self::root).
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let entries = self.tables.iter().flatten();
        entries.flat_map(|entry| entry.to_le_bytes()).collect()
    }

    /// Adds a mapping.
    ///
    /// # Errors
    ///
    /// The addresses or the length are not multiples of 4 KiB or exceed the scheme, a part of the virtual range is mapped, or
    /// the space for tables does not suffice. The tables are then as before.
    pub fn map(&mut self, mapping: &Mapping) -> Result<(), MapError> {
        let piece = self.validate(mapping)?;
        let mut needed = 0;
        self.check(Some(0), self.root_level(), piece, &mut needed)?;
        self.write(0, self.root_level(), piece, mapping.attributes);
        Ok(())
    }

    /// Translates a virtual address by these tables.
    ///
    /// # Errors
    ///
    /// The address is not canonical or not mapped.
    pub fn translate(&self, virt: u64) -> Result<Page, TranslateError> {
        walk::translate(self.scheme, self.addr, virt, |addr| self.read(addr))
    }

    /// The entry at a physical address; `None` outside of the tables.
    #[must_use]
    pub fn read(&self, addr: u64) -> Option<u64> {
        let offset = addr.checked_sub(self.addr)?;
        let table = self.tables.get(usize::try_from(offset / TABLE).ok()?)?;
        table.get(usize::try_from(offset % TABLE / 8).ok()?).copied()
    }

    const fn root_level(&self) -> u8 {
        self.scheme.levels().saturating_sub(1)
    }

    fn validate(&self, mapping: &Mapping) -> Result<Piece, MapError> {
        let Mapping { virt, phys, len, .. } = *mapping;
        for (part, value) in [
            (MappingPart::Virtual, virt),
            (MappingPart::Physical, phys),
            (MappingPart::Length, len),
        ] {
            if value % TABLE != 0 {
                return Err(MapError::Misaligned { part, value });
            }
        }
        let Some(last) = len.checked_sub(1) else {
            return Err(MapError::Empty { virt });
        };
        let bits = self.scheme.virtual_bits();
        let is_within = virt.checked_add(last).is_some_and(|end| {
            let is_canonical = self.scheme.is_canonical(virt) && self.scheme.is_canonical(end);
            is_canonical && virt >> 63 == end >> 63
        });
        if !is_within {
            return Err(MapError::NotCanonical { virt, len, bits });
        }
        let bits = self.scheme.physical_bits();
        if phys.checked_add(last).is_none_or(|end| end >> bits != 0) {
            return Err(MapError::PhysicalTooLarge { phys, len, bits });
        }
        let start = virt & self.scheme.virtual_mask();
        Ok(Piece {
            start,
            last: start.saturating_add(last),
            phys,
        })
    }

    /// Whether an absent entry of `level` can map this piece by one page.
    const fn is_page(&self, level: u8, piece: Piece) -> bool {
        let below = !(u64::MAX << Scheme::shift(level));
        level <= self.max_page.level() && piece.is_whole(level) && piece.phys & below == 0
    }

    /// Checks that the pieces in a table are not mapped, and counts the tables that they need. `table` is `None` for a table
    /// that does not exist yet.
    fn check(
        &self,
        table: Option<usize>,
        level: u8,
        piece: Piece,
        needed: &mut usize,
    ) -> Result<(), MapError> {
        for (index, piece) in piece.in_entries(level) {
            let entry = table
                .and_then(|table| self.tables.get(table)?.get(index))
                .map_or(Entry::Absent, |entry| self.scheme.decode(level, *entry));
            let next = match entry {
                Entry::Table { addr, .. } => self.index(addr),
                Entry::Absent if self.is_page(level, piece) => continue,
                Entry::Absent => {
                    *needed = needed.saturating_add(1);
                    let available = self.max_tables.saturating_sub(self.tables.len());
                    if *needed > available {
                        let needed = *needed;
                        return Err(MapError::TooManyTables { needed, available });
                    }
                    None
                }
                // `page_entry` writes no reserved encodings.
                Entry::Reserved => continue,
                Entry::Page { addr, .. } => {
                    let offset = piece.start & !(u64::MAX << Scheme::shift(level));
                    return Err(MapError::Mapped {
                        virt: self.scheme.sign_extend(piece.start),
                        phys: addr.saturating_add(offset),
                    });
                }
            };
            self.check(next, level.saturating_sub(1), piece, needed)?;
        }
        Ok(())
    }

    /// Writes the entries of pieces that [`check`](Self::check) accepted.
    fn write(&mut self, table: usize, level: u8, piece: Piece, attributes: Attributes) {
        for (index, piece) in piece.in_entries(level) {
            let next = match self
                .entry(table, index)
                .map(|entry| self.scheme.decode(level, entry))
            {
                Some(Entry::Table { addr, .. }) => self.index(addr),
                _ if self.is_page(level, piece) => {
                    let entry = self.scheme.page_entry(level, piece.phys, attributes);
                    self.set(table, index, entry);
                    None
                }
                _ => {
                    let next = self.tables.len();
                    self.tables.push([0; ENTRIES]);
                    self.set(table, index, self.scheme.table_entry(self.addr_of(next)));
                    Some(next)
                }
            };
            if let Some(next) = next {
                self.write(next, level.saturating_sub(1), piece, attributes);
            }
        }
    }

    fn entry(&self, table: usize, index: usize) -> Option<u64> {
        self.tables.get(table)?.get(index).copied()
    }

    fn set(&mut self, table: usize, index: usize, value: u64) {
        let table = self.tables.get_mut(table);
        if let Some(entry) = table.and_then(|table| table.get_mut(index)) {
            *entry = value;
        }
    }

    /// The number of the table at a physical address.
    fn index(&self, addr: u64) -> Option<usize> {
        usize::try_from(addr.checked_sub(self.addr)? / TABLE).ok()
    }

    /// The physical address of a table, which is below the limit that [`new`](Self::new) checked.
    fn addr_of(&self, table: usize) -> u64 {
        let offset = u64::try_from(table).unwrap_or(u64::MAX).saturating_mul(TABLE);
        self.addr.saturating_add(offset)
    }
}

/// A part of a mapping. The virtual addresses are those below the width of the scheme.
#[derive(Clone, Copy, Debug)]
struct Piece {
    start: u64,
    /// The last virtual address.
    last: u64,
    phys: u64,
}

impl Piece {
    /// Whether it is all of an entry of `level`.
    const fn is_whole(self, level: u8) -> bool {
        let below = !(u64::MAX << Scheme::shift(level));
        self.start & below == 0 && self.last & below == below
    }

    /// The parts in the entries of a table of `level`, with the index of each entry. All of the piece is below that table.
    fn in_entries(self, level: u8) -> impl Iterator<Item = (usize, Self)> {
        let shift = Scheme::shift(level);
        let below = !(u64::MAX << shift);
        let mut next = Some(self.start);
        core::iter::from_fn(move || {
            let start = next.filter(|start| *start <= self.last)?;
            let last = (start | below).min(self.last);
            next = last.checked_add(1);
            let offset = start.saturating_sub(self.start);
            let index = usize::try_from(start >> shift).unwrap_or(usize::MAX) % ENTRIES;
            let phys = self.phys.saturating_add(offset);
            Some((index, Self { start, last, phys }))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attributes::Access;

    const RW: Attributes = Attributes::normal(Access::WRITE);

    #[test]
    fn the_register_refers_to_the_root() {
        for (scheme, expected) in [
            (Scheme::X86_64, 0x8000_0000),
            (Scheme::Arm64, 0x8000_0000),
            (Scheme::Sv39, 0x8000_0000_0008_0000),
            (Scheme::Sv48, 0x9000_0000_0008_0000),
        ] {
            let tables = PageTables::new(scheme, 0x8000_0000, 1).unwrap();
            assert_eq!((tables.root(), tables.root_register()), (0x8000_0000, expected));
        }
    }

    #[test]
    fn places_of_tables() {
        let new = |addr, tables| PageTables::new(Scheme::Arm64, addr, tables).map(|_| ());
        let (addr, bits) = (0xffff_ffff_f000, 48);
        assert_eq!(new(addr, 1), Ok(()));
        assert_eq!(
            new(addr, 2),
            Err(TablesError::TooLarge {
                addr,
                tables: 2,
                bits
            })
        );
        let addr = 0xffff_ffff_ffff_f000;
        assert_eq!(
            new(addr, 2),
            Err(TablesError::TooLarge {
                addr,
                tables: 2,
                bits
            })
        );
        assert_eq!(new(0x1008, 1), Err(TablesError::Misaligned { addr: 0x1008 }));
        assert_eq!(new(0, 0), Err(TablesError::NoRoot));
    }

    #[test]
    fn tables_follow_each_other_in_memory() {
        let mut tables = PageTables::new(Scheme::X86_64, 0x9000, 4).unwrap();
        tables.map(&Mapping::identity(0x1000, 0x1000, RW)).unwrap();
        let bytes = tables.to_bytes();
        let entry = |offset: usize| u64::from_le_bytes(bytes[offset..offset + 8].try_into().unwrap());
        assert_eq!(bytes.len(), 4 * 0x1000);
        assert_eq!([entry(0), entry(0x1000), entry(0x2000)], [0xa027, 0xb027, 0xc027]);
        assert_eq!(entry(0x3008), 0x8000_0000_0000_1063);
        assert_eq!(bytes.iter().filter(|byte| **byte != 0).count(), 2 * 3 + 3);
        // Each number is read at its address, and nothing outside of the tables.
        assert_eq!(tables.read(0xc008), Some(0x8000_0000_0000_1063));
        assert_eq!([tables.read(0x8ff8), tables.read(0xd000)], [None; 2]);
    }

    #[test]
    fn the_largest_pages_that_fit() {
        for (max_page, tables) in [
            (PageSize::Size1G, 2),
            (PageSize::Size2M, 3),
            (PageSize::Size4K, 3 + 512),
        ] {
            let new = PageTables::new(Scheme::X86_64, 0, 1000).unwrap();
            let mut new = new.with_max_page_size(max_page);
            new.map(&Mapping::identity(1 << 30, 1 << 30, RW)).unwrap();
            assert_eq!(new.tables().len(), tables);
            assert_eq!(new.translate(1 << 30).unwrap().size, max_page);
        }
        // The physical address has another offset within a large page than the virtual one.
        let mut tables = PageTables::new(Scheme::X86_64, 0, 1000).unwrap();
        let mapping = Mapping {
            phys: (1 << 30) + 0x1000,
            ..Mapping::identity(1 << 30, 0x20_0000, RW)
        };
        tables.map(&mapping).unwrap();
        assert_eq!(tables.translate(1 << 30).unwrap().size, PageSize::Size4K);
    }

    #[test]
    fn the_limit_of_tables_is_reached_early() {
        let mut tables = PageTables::new(Scheme::X86_64, 0, 3).unwrap();
        let half = Mapping {
            phys: 0x1000,
            ..Mapping::identity(0, 1 << 47, RW)
        };
        let (needed, available) = (3, 2);
        assert_eq!(
            tables.map(&half),
            Err(MapError::TooManyTables { needed, available })
        );
        assert_eq!(tables.tables().len(), 1);
    }

    #[test]
    fn tables_by_address_and_level() {
        for (scheme, levels) in [(Scheme::X86_64, 4), (Scheme::Arm64, 4), (Scheme::Sv39, 3)] {
            let mut tables = PageTables::new(scheme, 0x9000, 4).unwrap();
            tables.map(&Mapping::identity(0x4000_1000, 0x1000, RW)).unwrap();
            let of = |virt, level| walk::table_of(scheme, 0x9000, virt, level, |addr| tables.read(addr));
            // Each table was added behind the one above it.
            for level in 0..levels {
                let expected = 0x9000 + 0x1000 * u64::from(levels - 1 - level);
                assert_eq!(of(0x4000_1000, level), Ok(expected), "{scheme:?} {level}");
            }
            // A table of 1 GiB entries serves all addresses below 2^39.
            assert_eq!(of(0x10_0000_0000, 2), of(0x4000_1000, 2));
            let missing = |virt, level| TranslateError::NotMapped { virt, level };
            assert_eq!(of(0x10_0000_0000, 1), Err(missing(0x10_0000_0000, 2)));
            assert_eq!(of(0, levels), Err(missing(0, levels - 1)));
            let virt = 1 << 63;
            assert_eq!(of(virt, 1), Err(TranslateError::NotCanonical { virt }));
        }
        // A page of 2 MiB has no table below it.
        let mut tables = PageTables::new(Scheme::X86_64, 0x9000, 4).unwrap();
        tables.map(&Mapping::identity(0x20_0000, 0x20_0000, RW)).unwrap();
        let found = walk::table_of(Scheme::X86_64, 0x9000, 0x20_0000, 0, |addr| tables.read(addr));
        let (virt, level) = (0x20_0000, 1);
        assert_eq!(found, Err(TranslateError::NotMapped { virt, level }));
    }
}
