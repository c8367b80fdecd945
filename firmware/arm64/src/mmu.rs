//! The MMU: the mappings of [`Layout`], RAM as normal memory and the registers of devices as device memory.
#![expect(unsafe_code, reason = "registers of the MMU")]

use core::arch::asm;

use boot_paging::{Access, MAIR_EL1, MapError, PageTables, Scheme};
use fw_device_tree::{Hardware, Layout, PagingError};
use fw_runtime::address;

use crate::cache;

/// Number of tables in each of the two areas that `entry.s` reserves.
pub(crate) const MAX_TABLES: usize = 64;

type Area = [[u64; 512]; MAX_TABLES];

unsafe extern "C" {
    static mut page_tables: [Area; 2];
}

/// The page tables. The CPU uses those in one area while new ones are written to the other one: a table must not replace a large page that
/// is in use (Arm ARM, D8.16.1).
pub(crate) struct Mmu {
    regime: Regime,
    /// As if they were in the first area.
    tables: PageTables,
    /// Index of the area that is in use.
    area: usize,
}

impl Mmu {
    /// Turns MMU and data cache on.
    ///
    /// # Safety
    ///
    /// They are off; `hardware` is that of the machine, and `layout` the memory of the firmware.
    pub(crate) unsafe fn enable(hardware: &Hardware, layout: &Layout) -> Result<Self, PagingError> {
        let root = address(&raw const page_tables);
        let tables = fw_device_tree::page_tables(Scheme::Arm64, root, MAX_TABLES, layout, hardware)?;
        let regime = Regime::current();
        let mut mmu = Self {
            regime,
            tables,
            area: 1,
        };
        let root = mmu.write();
        // What was written past the caches must not be hidden by old lines.
        cache::clean(layout.whole());
        // SAFETY: the tables map the firmware and all that it uses.
        unsafe { regime.enable(root) };
        Ok(mmu)
    }

    /// Changes the access to whole pages.
    pub(crate) fn protect(&mut self, start: u64, len: u64, access: Access) -> Result<(), MapError> {
        self.tables.protect(start, len, access)?;
        let root = self.write();
        // SAFETY: the tables map what those in use map, with the access that the caller wants.
        unsafe { self.regime.enable(root) };
        Ok(())
    }

    /// Writes the tables to the area that is not in use, and returns the address of the root.
    fn write(&mut self) -> u64 {
        self.area = 1 - self.area;
        let areas = &raw mut page_tables;
        // SAFETY: one CPU runs, nothing else uses this memory, and the MMU uses the other area.
        let areas = unsafe { &mut *areas };
        let area = areas.get_mut(self.area);
        let Some(area) = area else { return 0 };
        let root = address(core::ptr::from_ref(area));
        let distance = root.wrapping_sub(self.tables.root());
        for (own, table) in area.iter_mut().zip(self.tables.tables()) {
            *own = table.map(|entry| {
                let moved = if is_table(entry) { distance } else { 0 };
                self.regime.entry(entry).wrapping_add(moved)
            });
        }
        root
    }
}

/// Whether an entry for EL1 refers to a table: pages have one of the execute-never bits.
const fn is_table(entry: u64) -> bool {
    entry & 1 == 1 && entry & (PXN | XN) == 0
}

/// A translation regime.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Regime {
    /// That of EL1 and EL0.
    El1,
    /// That of EL2 and EL0, with `HCR_EL2.E2H`: the formats of EL1, in the registers of EL2.
    El2Host,
    /// That of EL2 alone.
    El2,
}

/// `MAIR_EL1` and others are in the registers of the same name with `_el2` at EL2.
macro_rules! enable {
    ($el:literal, $invalidate:literal, $tcr:expr, $root:expr) => {
        asm!(
            // The MMU is off while its registers change: no instruction in between accesses memory.
            "dsb ish",
            concat!("mrs {sctlr}, sctlr_", $el),
            "bic {sctlr}, {sctlr}, #1",
            concat!("msr sctlr_", $el, ", {sctlr}"),
            "isb",
            concat!("msr mair_", $el, ", {mair}"),
            concat!("msr tcr_", $el, ", {tcr}"),
            concat!("msr ttbr0_", $el, ", {root}"),
            "isb",
            concat!("tlbi ", $invalidate),
            "ic iallu",
            "dsb nsh",
            "isb",
            concat!("mrs {sctlr}, sctlr_", $el),
            "orr {sctlr}, {sctlr}, {set}",
            "bic {sctlr}, {sctlr}, {clear}",
            concat!("msr sctlr_", $el, ", {sctlr}"),
            "isb",
            mair = in(reg) MAIR_EL1,
            tcr = in(reg) $tcr,
            root = in(reg) $root,
            set = in(reg) SCTLR_SET,
            clear = in(reg) SCTLR_CLEAR,
            sctlr = out(reg) _,
            options(nostack),
        )
    };
}

/// `SCTLR`: MMU (0), data cache (2), instruction cache (12).
const SCTLR_SET: u64 = 1 << 0 | 1 << 2 | 1 << 12;
/// `SCTLR`: alignment check (1), writable memory is not executable (19).
const SCTLR_CLEAR: u64 = 1 << 1 | 1 << 19;

/// `TCR`: 48 bits of addresses (T0SZ 16), tables in inner and outer write-back cacheable and inner shareable memory, granule of 4 KiB.
const TCR: u64 = 16 | 1 << 8 | 1 << 10 | 3 << 12;
/// `TCR_EL1.EPD1`: the upper half of the addresses is not translated.
const TCR_EPD1: u64 = 1 << 23;
/// Bits of `TCR_EL2` that are 1.
const TCR_EL2_RES1: u64 = 1 << 31 | 1 << 23;
/// Largest physical address size that the format of the tables has: 48 bits.
const MAX_PARANGE: u64 = 5;

/// Bits of page entries: access by EL0, which is 1 in the regime of EL2, the two execute-never bits.
const AP_1: u64 = 1 << 6;
const PXN: u64 = 1 << 53;
const XN: u64 = 1 << 54;

impl Regime {
    /// That of the current exception level.
    fn current() -> Self {
        let level: u64;
        // SAFETY: reading the register has no effect.
        unsafe { asm!("mrs {}, CurrentEL", out(reg) level, options(nomem, nostack, preserves_flags)) };
        if level != 2 << 2 {
            return Self::El1;
        }
        let hcr: u64;
        // SAFETY: as above; EL2 has this register.
        unsafe { asm!("mrs {}, hcr_el2", out(reg) hcr, options(nomem, nostack, preserves_flags)) };
        if hcr >> 34 & 1 == 1 {
            Self::El2Host
        } else {
            Self::El2
        }
    }

    /// An entry of the regime from one for EL1. The regime of EL2 alone has one execute-never bit, at the place of that for EL0 (Arm ARM,
    /// D8.4).
    fn entry(self, entry: u64) -> u64 {
        if self != Self::El2 || entry & 1 == 0 || is_table(entry) {
            return entry;
        }
        let never = if entry & PXN == 0 { 0 } else { XN };
        entry & !(PXN | XN) | never | AP_1
    }

    /// Turns MMU and caches on with these tables.
    ///
    /// # Safety
    ///
    /// The tables at `root` are of this regime, and map all that is in use at its physical address.
    unsafe fn enable(self, root: u64) {
        let features: u64;
        // SAFETY: reading the register has no effect.
        unsafe {
            asm!("mrs {}, id_aa64mmfr0_el1", out(reg) features, options(nomem, nostack, preserves_flags));
        };
        let size = (features & 0xf).min(MAX_PARANGE);
        let tcr = match self {
            Self::El1 | Self::El2Host => TCR | TCR_EPD1 | size << 32,
            Self::El2 => TCR | TCR_EL2_RES1 | size << 16,
        };
        match self {
            // SAFETY: the caller guarantees that the tables are right. The registers are those of the current exception level.
            Self::El1 => unsafe { enable!("el1", "vmalle1", tcr, root) },
            // SAFETY: as above.
            Self::El2Host | Self::El2 => unsafe { enable!("el2", "alle2", tcr, root) },
        }
    }
}
