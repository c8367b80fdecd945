//! Page tables (Sv39) with the mappings of [`Layout`].
#![expect(unsafe_code, reason = "the register of the page tables")]

use core::arch::asm;

use boot_paging::{Access, MapError, PageTables, Scheme};
use fw_device_tree::{Hardware, Layout, PagingError};
use fw_runtime::address;

/// Number of tables in each of the two areas that `entry.s` reserves.
pub(crate) const MAX_TABLES: usize = 64;

type Area = [[u64; 512]; MAX_TABLES];

unsafe extern "C" {
    static mut page_tables: [Area; 2];
}

/// The page tables. The hart uses those in one area while new ones are written to the other one.
pub(crate) struct Paging {
    /// As if they were in the first area.
    tables: PageTables,
    /// Index of the area that is in use.
    area: usize,
}

/// `satp`: the root table, by its page, and the scheme.
const fn satp(root: u64) -> u64 {
    8 << 60 | root >> 12
}

impl Paging {
    /// Turns translation on; `None` on a hart without Sv39, and on a machine with addresses that this does not have.
    ///
    /// # Safety
    ///
    /// It is off; `hardware` is that of the machine, and `layout` the memory of the firmware.
    pub(crate) unsafe fn enable(hardware: &Hardware, layout: &Layout) -> Result<Option<Self>, PagingError> {
        let root = address(&raw const page_tables);
        let tables = match fw_device_tree::page_tables(Scheme::Sv39, root, MAX_TABLES, layout, hardware) {
            Err(PagingError::Map {
                source: MapError::NotCanonical { .. },
                ..
            }) => return Ok(None),
            tables => tables?,
        };
        let mut paging = Self { tables, area: 1 };
        let wanted = satp(paging.write());
        // SAFETY: the tables map the firmware and all that it uses.
        let found = unsafe { enter(wanted) };
        Ok((found == wanted).then_some(paging))
    }

    /// Changes the access to whole pages.
    pub(crate) fn protect(&mut self, start: u64, len: u64, access: Access) -> Result<(), MapError> {
        self.tables.protect(start, len, access)?;
        let wanted = satp(self.write());
        // SAFETY: the tables map what those in use map, with the access that the caller wants.
        unsafe { enter(wanted) };
        Ok(())
    }

    /// Writes the tables to the area that is not in use, and returns the address of the root.
    fn write(&mut self) -> u64 {
        self.area = 1 - self.area;
        let areas = &raw mut page_tables;
        // SAFETY: one hart runs, nothing else uses this memory, and the hart uses the other area.
        let areas = unsafe { &mut *areas };
        let area = areas.get_mut(self.area);
        let Some(area) = area else { return 0 };
        let root = address(core::ptr::from_ref(area));
        // In pages, at the place of the page number in an entry.
        let distance = root.wrapping_sub(self.tables.root()) >> 12 << 10;
        for (own, table) in area.iter_mut().zip(self.tables.tables()) {
            *own = table.map(|entry| entry.wrapping_add(if is_table(entry) { distance } else { 0 }));
        }
        root
    }
}

/// Whether an entry refers to a table: it is valid, and cannot be read, written or executed.
const fn is_table(entry: u64) -> bool {
    entry & 0b1111 == 1
}

/// Writes `satp`, and returns what it then is: a hart ignores schemes that it does not have.
///
/// # Safety
///
/// The tables map all that is in use at its physical address.
unsafe fn enter(satp: u64) -> u64 {
    let found;
    // SAFETY: as the caller guarantees; the fences order the stores to the tables, and make the hart forget old entries.
    unsafe {
        asm!("sfence.vma", "csrw satp, {}", "sfence.vma", "csrr {}, satp", in(reg) satp, lateout(reg) found,
            options(nostack));
    }
    found
}
