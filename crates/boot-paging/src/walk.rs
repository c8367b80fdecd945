//! Walks of page tables in guest memory, which can be hostile: every walk ends, and no entry is trusted.

use alloc::vec;
use alloc::vec::Vec;

use crate::attributes::Attributes;
use crate::entry::{Entry, Permissions};
use crate::error::TranslateError;
use crate::scheme::{ENTRIES, PageSize, Scheme};

/// A page that page tables map.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub struct Page {
    /// Virtual address of its first byte.
    pub virt: u64,
    /// Physical address of its first byte.
    pub phys: u64,
    /// Its size.
    pub size: PageSize,
    /// Its attributes, with the limits of all tables above it. Pages that permit instruction fetches but no reads (arm64, riscv64)
    /// look like others.
    pub attributes: Attributes,
}

impl Page {
    /// The physical address of a virtual address in this page; `None` if it is in another one.
    #[must_use]
    pub const fn translate(&self, virt: u64) -> Option<u64> {
        match virt.checked_sub(self.virt) {
            Some(offset) if offset < self.size.bytes() => self.phys.checked_add(offset),
            _ => None,
        }
    }
}

/// A table on the way of a walk.
#[derive(Clone, Copy, Debug)]
struct Table {
    addr: u64,
    level: u8,
    /// The virtual address of its first entry, before sign extension.
    virt: u64,
    limit: Permissions,
}

/// What an entry of a table refers to.
enum Next {
    Nothing,
    Table(Table),
    Page(Page),
}

impl Table {
    fn root(scheme: Scheme, addr: u64) -> Self {
        Self {
            // The entries have multiples of 4 KiB.
            addr: addr & !0xfff,
            level: scheme.levels().saturating_sub(1),
            virt: 0,
            limit: Permissions::all(),
        }
    }

    /// Reads the entry with this index.
    fn entry(
        &self,
        scheme: Scheme,
        index: u64,
        read: &mut impl FnMut(u64) -> Option<u64>,
    ) -> Result<Next, TranslateError> {
        let level = self.level;
        let addr = self.addr.wrapping_add(index.wrapping_mul(8));
        let entry = read(addr).ok_or(TranslateError::NotInMemory { addr, level })?;
        let virt = self.virt | index << Scheme::shift(level);
        match scheme.decode(level, entry) {
            Entry::Absent => Ok(Next::Nothing),
            Entry::Reserved => Err(TranslateError::Reserved { addr, entry, level }),
            Entry::Table { addr, limit } => Ok(Next::Table(Self {
                addr,
                // Only entries above level 0 refer to tables.
                level: level.saturating_sub(1),
                virt,
                limit: self.limit & limit,
            })),
            Entry::Page {
                addr: phys,
                permissions,
                memory,
            } => {
                let size = PageSize::of_level(level);
                let access = (self.limit & permissions).access();
                Ok(Next::Page(Page {
                    virt: scheme.sign_extend(virt),
                    phys,
                    size,
                    attributes: Attributes { access, memory },
                }))
            }
        }
    }
}

/// Translates the virtual address `virt` by the page tables whose root table is at the physical address `root`, and returns its page.
///
/// `root` is a multiple of 4 KiB; its low bits are ignored. [`Scheme::root`] has that of a register. The access flags of arm64 and
/// riscv64 (AF, A) are not checked: software may set them at an access.
///
/// `read` reads the little-endian entry at a physical address, a multiple of 8; it returns `None` outside of memory. It is
/// called at most once for each level.
///
/// # Errors
///
/// The address is not canonical, it is not mapped, or an entry is reserved or not in memory.
pub fn translate(
    scheme: Scheme,
    root: u64,
    virt: u64,
    mut read: impl FnMut(u64) -> Option<u64>,
) -> Result<Page, TranslateError> {
    if !scheme.is_canonical(virt) {
        return Err(TranslateError::NotCanonical { virt });
    }
    let mut table = Table::root(scheme, root);
    loop {
        let level = table.level;
        let index = virt >> Scheme::shift(level) & INDEX_MASK;
        match table.entry(scheme, index, &mut read)? {
            Next::Nothing => return Err(TranslateError::NotMapped { virt, level }),
            Next::Page(page) => return Ok(page),
            Next::Table(next) => table = next,
        }
    }
}

/// The physical address of the table of `level` that has the entry for `virt`, in the page tables whose root table is at the physical
/// address `root`. Level 0 is that of 4 KiB pages; the entries of level 2 are those of 1 GiB.
///
/// `root` and `read` are those of [`translate`].
///
/// # Errors
///
/// As [`translate`]; [`TranslateError::NotMapped`] also if a larger page is mapped there, or the scheme has no such level.
pub fn table_of(
    scheme: Scheme,
    root: u64,
    virt: u64,
    level: u8,
    mut read: impl FnMut(u64) -> Option<u64>,
) -> Result<u64, TranslateError> {
    if !scheme.is_canonical(virt) {
        return Err(TranslateError::NotCanonical { virt });
    }
    let mut table = Table::root(scheme, root);
    while table.level > level {
        let index = virt >> Scheme::shift(table.level) & INDEX_MASK;
        let above = table.level;
        match table.entry(scheme, index, &mut read)? {
            Next::Table(next) => table = next,
            Next::Nothing | Next::Page(_) => return Err(TranslateError::NotMapped { virt, level: above }),
        }
    }
    if table.level == level {
        Ok(table.addr)
    } else {
        let level = table.level;
        Err(TranslateError::NotMapped { virt, level })
    }
}

/// Bits of an index in a table.
const INDEX_MASK: u64 = 0x1ff;
const _: () = assert!(ENTRIES == 0x200);

/// All pages that page tables map, in the order of their indices: those of the lower half of the address space first.
///
/// After a reserved entry, the iterator goes on with the next one; after a table that is not in memory, with the next table. The
/// tables of a circle are visited until the limit, which ends the walk with an error.
#[derive(Clone, Debug)]
pub struct Pages<F> {
    scheme: Scheme,
    read: F,
    /// The tables from the root to the current one, with the index of the next entry.
    stack: Vec<(Table, u64)>,
    limit: usize,
    left: usize,
}

impl<F: FnMut(u64) -> Option<u64>> Pages<F> {
    /// The pages of the tables whose root table is at the physical address `root`, in at most `max_tables` tables. `read` is
    /// that of [`translate`].
    pub fn new(scheme: Scheme, root: u64, max_tables: usize, read: F) -> Self {
        Self {
            scheme,
            read,
            stack: vec![(Table::root(scheme, root), 0)],
            limit: max_tables,
            left: max_tables,
        }
    }
}

impl<F: FnMut(u64) -> Option<u64>> Iterator for Pages<F> {
    type Item = Result<Page, TranslateError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let (table, index) = self.stack.last_mut()?;
            if *index == 0 {
                // The first entry of a table that has not been counted.
                let Some(left) = self.left.checked_sub(1) else {
                    self.stack.clear();
                    return Some(Err(TranslateError::TooManyTables { limit: self.limit }));
                };
                self.left = left;
            }
            if *index > INDEX_MASK {
                self.stack.pop();
                continue;
            }
            let next = table.entry(self.scheme, *index, &mut self.read);
            *index = index.saturating_add(1);
            match next {
                Ok(Next::Nothing) => {}
                Ok(Next::Table(table)) => self.stack.push((table, 0)),
                Ok(Next::Page(page)) => return Some(Ok(page)),
                Err(error) => {
                    if matches!(error, TranslateError::NotInMemory { .. }) {
                        self.stack.pop();
                    }
                    return Some(Err(error));
                }
            }
        }
    }
}
