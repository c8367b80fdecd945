//! Changes of the access to pages that are mapped.

use super::{Mapping, PageTables, Piece};
use crate::attributes::{Access, Attributes};
use crate::entry::Entry;
use crate::error::MapError;
use crate::scheme::{ENTRIES, PageSize};

impl PageTables {
    /// Changes the access to the pages of a mapped range, whose memory types stay. Pages that are in the range in part are replaced by
    /// tables of smaller ones.
    ///
    /// The entries of a page change in no particular order: tables that a CPU uses are copied to their memory afterwards, and the CPU
    /// forgets its translations then. On arm64, a page that was replaced by a table first has to be absent (Arm ARM, D8.16.1).
    ///
    /// # Errors
    ///
    /// The address or the length are not multiples of 4 KiB or exceed the scheme, a part of the range is not mapped, or the space for
    /// tables does not suffice. The tables are then as before.
    pub fn protect(&mut self, virt: u64, len: u64, access: Access) -> Result<(), MapError> {
        let mapping = Mapping {
            phys: 0,
            ..Mapping::identity(virt, len, Attributes::normal(access))
        };
        let piece = self.validate(&mapping)?;
        let mut needed = 0;
        self.check_pages(0, self.root_level(), piece, &mut needed)?;
        let available = self.max_tables.saturating_sub(self.tables.len());
        if needed > available {
            return Err(MapError::TooManyTables { needed, available });
        }
        self.change(0, self.root_level(), piece, access);
        Ok(())
    }

    /// Checks that the pieces in a table are mapped, and counts the tables that replace pages.
    fn check_pages(&self, table: usize, level: u8, piece: Piece, needed: &mut usize) -> Result<(), MapError> {
        for (index, piece) in piece.in_entries(level) {
            let entry = self.entry(table, index).unwrap_or_default();
            match self.scheme.decode(level, entry) {
                Entry::Table { addr, .. } => {
                    let next = self.index(addr).unwrap_or(usize::MAX);
                    self.check_pages(next, level.saturating_sub(1), piece, needed)?;
                }
                Entry::Page { .. } => *needed = needed.saturating_add(piece.splits(level)),
                Entry::Absent | Entry::Reserved => {
                    let virt = self.scheme.sign_extend(piece.start);
                    return Err(MapError::NotMapped { virt });
                }
            }
        }
        Ok(())
    }

    /// Changes the access to pages that [`check_pages`](Self::check_pages) accepted.
    fn change(&mut self, table: usize, level: u8, piece: Piece, access: Access) {
        for (index, piece) in piece.in_entries(level) {
            let entry = self.entry(table, index).unwrap_or_default();
            let next = match self.scheme.decode(level, entry) {
                Entry::Table { addr, .. } => self.index(addr),
                Entry::Page { addr, memory, .. } if piece.is_whole(level) => {
                    let entry = self.scheme.page_entry(level, addr, Attributes { access, memory });
                    self.set(table, index, entry);
                    None
                }
                Entry::Page {
                    addr,
                    permissions,
                    memory,
                } => {
                    let attributes = Attributes {
                        access: permissions.access(),
                        memory,
                    };
                    Some(self.split(table, index, level.saturating_sub(1), addr, attributes))
                }
                Entry::Absent | Entry::Reserved => None,
            };
            if let Some(next) = next {
                self.change(next, level.saturating_sub(1), piece, access);
            }
        }
    }

    /// Replaces an entry by a table of pages of `level` from `addr` on. Returns the number of the table.
    fn split(&mut self, table: usize, index: usize, level: u8, addr: u64, attributes: Attributes) -> usize {
        let size = PageSize::of_level(level).bytes();
        let mut pages = [0; ENTRIES];
        for (entry, number) in pages.iter_mut().zip(0_u64..) {
            let addr = addr.saturating_add(size.saturating_mul(number));
            *entry = self.scheme.page_entry(level, addr, attributes);
        }
        let next = self.tables.len();
        self.tables.push(pages);
        self.set(table, index, self.scheme.table_entry(self.addr_of(next)));
        next
    }
}

impl Piece {
    /// Number of tables that replace a page of `level`, so that this part of it has pages of its own.
    fn splits(self, level: u8) -> usize {
        if self.is_whole(level) {
            return 0;
        }
        let level = level.saturating_sub(1);
        let below = self.in_entries(level).map(|(_, piece)| piece.splits(level));
        below.fold(1, usize::saturating_add)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attributes::MemoryType;
    use crate::scheme::Scheme;

    const RW: Attributes = Attributes::normal(Access::WRITE);

    /// Tables with 2 GiB of normal memory from 0 on and a device behind it, in pages of up to 1 GiB.
    fn tables(scheme: Scheme, max_tables: usize) -> PageTables {
        let tables = PageTables::new(scheme, 0x9000, max_tables).unwrap();
        let mut tables = tables.with_max_page_size(PageSize::Size1G);
        tables.map(&Mapping::identity(0, 2 << 30, RW)).unwrap();
        let device = Mapping::identity(2 << 30, 0x20_0000, Attributes::DEVICE);
        tables.map(&device).unwrap();
        tables
    }

    #[test]
    fn pages_in_the_range_change_and_all_others_stay() {
        for scheme in Scheme::ALL {
            let mut tables = tables(scheme, 20);
            let (start, end) = (0x3fdf_f000, 0x4020_1000);
            let execute = Access::EXECUTE;
            tables.protect(start, end - start, execute).unwrap();
            for (virt, access, size) in [
                (0, Access::WRITE, PageSize::Size2M),
                (start - 0x1000, Access::WRITE, PageSize::Size4K),
                (start, execute, PageSize::Size4K),
                (start + 0x1000, execute, PageSize::Size2M),
                (1 << 30, execute, PageSize::Size2M),
                (end - 0x1000, execute, PageSize::Size4K),
                (end, Access::WRITE, PageSize::Size4K),
                (0x4040_0000, Access::WRITE, PageSize::Size2M),
            ] {
                let page = tables.translate(virt).unwrap();
                assert_eq!(page.translate(virt), Some(virt), "{scheme:?} {virt:#x}");
                assert_eq!(
                    (page.attributes, page.size),
                    (Attributes::normal(access), size),
                    "{scheme:?} {virt:#x}"
                );
            }
            // Back again, without further tables.
            let count = tables.tables().len();
            tables.protect(start, end - start, Access::WRITE).unwrap();
            assert_eq!(tables.tables().len(), count);
            assert_eq!(tables.translate(1 << 30).unwrap().attributes, RW);
        }
    }

    #[test]
    fn the_memory_type_stays() {
        let mut tables = tables(Scheme::X86_64, 20);
        tables.protect(2 << 30, 0x1000, Access::empty()).unwrap();
        let [first, second] =
            [0x8000_0000, 0x8000_1000].map(|virt| tables.translate(virt).unwrap().attributes);
        assert_eq!(
            (first.access, first.memory),
            (Access::empty(), MemoryType::Device)
        );
        assert_eq!(second, Attributes::DEVICE);
    }

    #[test]
    fn a_refused_change_changes_nothing() {
        // The root, and tables for 512 GiB and for the third GiB.
        let mut tables = tables(Scheme::X86_64, 6);
        let before = tables.clone();
        let mut check = |virt, len, expected| {
            assert_eq!(tables.protect(virt, len, Access::EXECUTE), Err(expected));
            assert_eq!(tables, before);
        };
        let end = (2 << 30) + 0x20_0000;
        check(end - 0x1000, 0x2000, MapError::NotMapped { virt: end });
        check(
            1 << 47 | u64::MAX << 48,
            0x1000,
            MapError::NotMapped {
                virt: 1 << 47 | u64::MAX << 48,
            },
        );
        check(0, 0, MapError::Empty { virt: 0 });
        let (needed, available) = (4, 3);
        check(0x3fff_f000, 0x2000, MapError::TooManyTables { needed, available });
        tables.protect(0x1000, 0x1000, Access::EXECUTE).unwrap();
        assert_eq!(tables.tables().len(), 5);
    }
}
