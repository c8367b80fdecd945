//! Page tables of mappings. They are in a slot of their own; the guest's table of 1 GiB entries refers to them.

use std::ops::Range;
use std::sync::Arc;

use boot_core::{Arch, GuestRange};
use boot_paging::{Access, Attributes, PageTables, Scheme, TranslateError, table_of};
use guest_ram::{ExclusiveBytes, HostMapping, HugePages, RamRegion};
use hv_core::{BareVm, DirtyPages, SlotAttributes};
use sandbox_abi::layout;

use crate::base::PAGE;
use crate::image::Image;
use crate::mapping_error::MapError;

/// Number of the slot of these page tables, behind those of the sandbox itself.
pub(crate) const TABLES_SLOT: u32 = 3;

/// Level of the entries of 1 GiB.
const LEVEL: u8 = 2;

/// Offset of the entry of 1 GiB for `address` in its table in bytes.
#[expect(clippy::as_conversions, reason = "less than 4 KiB")]
const fn entry_offset(address: u64) -> usize {
    (address >> 30) as usize % 512 * 8
}

/// The entries of 1 GiB that belong to mappings only.
const ENTRIES: Range<usize> = entry_offset(layout::REGION_TABLES)..entry_offset(layout::REGIONS_END);

/// Length of the tables in bytes.
#[expect(clippy::as_conversions, clippy::cast_possible_truncation, reason = "2 MiB")]
const LEN: usize = layout::REGION_TABLES_LEN as usize;

/// The translation scheme of the guests of an architecture.
const fn scheme(arch: Arch) -> Scheme {
    match arch {
        Arch::Aarch64 => Scheme::Arm64,
        Arch::Riscv64 => Scheme::Sv39,
        _ => Scheme::X86_64,
    }
}

/// Pages of a mapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pages {
    /// Their guest physical addresses, which are also the virtual ones.
    pub(crate) range: GuestRange,
    pub(crate) is_writable: bool,
}

/// The bytes of new tables.
#[derive(Debug)]
pub(crate) struct NewTables {
    /// The tables.
    used: Vec<u8>,
    /// Those of [`ENTRIES`].
    entries: Vec<u8>,
}

impl NewTables {
    /// Tables for `mappings` of guests of `image`. Nothing is executable.
    pub(crate) fn new(image: &Image, mappings: impl Iterator<Item = Pages>) -> Result<Self, MapError> {
        let scheme = scheme(image.entry.arch());
        let mut tables = PageTables::new(scheme, layout::REGION_TABLES, LEN / PAGE)?;
        let mut is_empty = true;
        for Pages { range, is_writable } in mappings {
            let mut access = Access::empty();
            access.set(Access::WRITE, is_writable);
            let attributes = Attributes::normal(access);
            let pages = boot_paging::Mapping::identity(range.start(), range.len(), attributes);
            tables.map(&pages)?;
            is_empty = false;
        }
        if is_empty {
            return Ok(Self {
                used: Vec::new(),
                entries: vec![0; ENTRIES.len()],
            });
        }
        let read = |addr| tables.read(addr);
        let table = table_of(scheme, layout::REGION_TABLES, layout::REGIONS, LEVEL, read)?;
        let used = tables.to_bytes();
        let start = offset(layout::REGION_TABLES, table).saturating_add(ENTRIES.start);
        let entries = used.get(start..start.saturating_add(ENTRIES.len()));
        let entries = entries.unwrap_or_default().to_vec();
        Ok(Self { used, entries })
    }
}

fn offset(start: u64, addr: u64) -> usize {
    usize::try_from(addr.saturating_sub(start)).unwrap_or(usize::MAX)
}

/// The page tables of the mappings of one sandbox.
#[derive(Debug)]
pub(crate) struct MappingTables {
    memory: Arc<HostMapping>,
    bytes: ExclusiveBytes,
    /// The slot has a dirty log.
    log_dirty: bool,
    /// What the first of the bytes are; the others are zeros.
    used: Vec<u8>,
    /// Number of the guest's table of 1 GiB entries among its page tables.
    upper: usize,
    /// What this table is.
    upper_bytes: Vec<u8>,
    /// Tables that the guest may have written.
    written: DirtyPages,
    /// Result of the last question to the hypervisor; kept for its memory.
    taken: DirtyPages,
}

impl MappingTables {
    /// Empty tables for a guest of `image`, on a hypervisor that has dirty logs or not.
    pub(crate) fn new(image: &Image, log_dirty: bool) -> Result<Self, MapError> {
        let start = image.areas.tables.start();
        let read = |addr: u64| {
            let at = usize::try_from(addr.checked_sub(start)?).ok()?;
            let (entry, _) = image.exchange.tables.get(at..)?.split_first_chunk()?;
            Some(u64::from_le_bytes(*entry))
        };
        let scheme = scheme(image.entry.arch());
        let table = table_of(scheme, start, layout::REGIONS, LEVEL, read)?;
        let at = offset(start, table);
        let upper_bytes = image.exchange.tables.get(at..at.saturating_add(PAGE));
        let not_there = TranslateError::NotInMemory {
            addr: table,
            level: LEVEL,
        };
        let upper_bytes = upper_bytes.ok_or(not_there)?.to_vec();
        let memory = HostMapping::anonymous(LEN)?;
        // A table that is written takes one page, not 2 MiB.
        memory.advise_huge_pages(HugePages::Avoid);
        let memory = Arc::new(memory);
        Ok(Self {
            bytes: ExclusiveBytes::new(Arc::clone(&memory), 0..LEN)?,
            memory,
            log_dirty,
            used: Vec::new(),
            upper: at / PAGE,
            upper_bytes,
            written: DirtyPages::new(LEN / PAGE),
            taken: DirtyPages::new(LEN / PAGE),
        })
    }

    /// The memory at its guest physical addresses.
    pub(crate) fn region(&self) -> Option<RamRegion> {
        let range = GuestRange::new(layout::REGION_TABLES, layout::REGION_TABLES_LEN)?;
        RamRegion::from_mapping(range, Arc::clone(&self.memory), 0)
    }

    /// Attributes of the slot.
    pub(crate) fn attributes(&self) -> SlotAttributes {
        SlotAttributes::default().with_log_dirty(self.log_dirty)
    }

    /// What table `number` of the guest's page tables is, if it is not that of the plan.
    pub(crate) fn guest_table(&self, number: usize) -> Option<&[u8]> {
        (number == self.upper).then_some(&self.upper_bytes)
    }

    /// Makes these tables `new`. Returns the entries of the guest's table: the offset among its page tables in bytes, and the bytes.
    pub(crate) fn set(&mut self, new: NewTables) -> (usize, &[u8]) {
        let NewTables { used, entries } = new;
        let before = std::mem::replace(&mut self.used, used).len();
        let written = self.bytes.write(0, &self.used);
        debug_assert!(written, "the tables fit");
        let end = self.used.len();
        let zeroed = self.bytes.zero(end, before.saturating_sub(end));
        debug_assert!(zeroed, "the tables before fitted");
        if let Some(to) = self.upper_bytes.get_mut(ENTRIES) {
            to.iter_mut().zip(&entries).for_each(|(to, from)| *to = *from);
        }
        let at = self.upper.saturating_mul(PAGE).saturating_add(ENTRIES.start);
        (at, self.upper_bytes.get(ENTRIES).unwrap_or_default())
    }

    /// Asks the hypervisor for the tables that the guest wrote.
    pub(crate) fn collect<V: BareVm>(&mut self, vm: &V) -> Result<(), V::Error> {
        if !self.log_dirty {
            (0..self.written.pages()).for_each(|table| {
                self.written.insert(table);
            });
            return Ok(());
        }
        // All stay in the log: CPUs count as writers of the tables that they use.
        vm.take_dirty_before(TABLES_SLOT, 0, &mut self.taken)?;
        self.written.union(&self.taken);
        Ok(())
    }

    /// Makes the tables that the guest wrote what they were.
    pub(crate) fn restore(&mut self) {
        for table in self.written.iter() {
            let start = table.saturating_mul(PAGE);
            match self.used.get(start..start.saturating_add(PAGE)) {
                Some(bytes) if self.bytes.equals(start, bytes) => {}
                Some(bytes) => {
                    let written = self.bytes.write(start, bytes);
                    debug_assert!(written, "the table is one of these");
                }
                None => {
                    let zeroed = self.bytes.zero(start, PAGE);
                    debug_assert!(zeroed, "the table is one of these");
                }
            }
        }
        self.written.clear();
    }
}
