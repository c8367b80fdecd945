//! Page tables: code that cannot be written, data that cannot be executed.
#![expect(unsafe_code, reason = "page tables of the CPU")]

use alloc::alloc::alloc;
use core::arch::asm;
use core::arch::x86_64::__cpuid;

use boot_paging::{Access, Attributes, MapError, Mapping, PageSize, PageTables, Scheme, TablesError};
use fw_runtime::address;

/// Number of tables: one of each upper level, one for each GiB, and some for the firmware's own pages.
const MAX_TABLES: usize = 16;
/// End of the memory that the page tables of the start map.
pub(crate) const MAPPED_END: u64 = 1 << 32;

const PAGE: usize = 0x1000;
/// `IA32_EFER`, and its bit for pages that cannot be executed.
const MSR_EFER: u32 = 0xc000_0080;
const EFER_NXE: u32 = 1 << 11;

unsafe extern "C" {
    static __text_start: u8;
    static __rodata_start: u8;
    static __data_start: u8;
    static __stack_guard: u8;
    static __firmware_end: u8;
}

/// Why page tables cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MmuError {
    /// The heap is too small.
    #[error("the heap has no memory for page tables")]
    NoMemory,
    /// The tables cannot be at their address.
    #[error(transparent)]
    Tables(#[from] TablesError),
    /// A part cannot be mapped.
    #[error(transparent)]
    Map(#[from] MapError),
}

/// What the page tables map.
#[derive(Clone, Copy)]
pub(crate) struct MemoryLayout {
    /// End of the memory, a multiple of 4 KiB.
    pub(crate) end: u64,
    /// Access to what is not the firmware's.
    pub(crate) rest: Access,
    /// Number of tables for later changes.
    pub(crate) spare: usize,
}

/// Page tables and their place.
pub(crate) struct Mmu {
    tables: PageTables,
    place: *mut [u64; 512],
}

/// The largest page: 1 GiB if the CPU has the feature `pdpe1gb` (Intel SDM volume 2A, CPUID 80000001H).
fn max_page() -> PageSize {
    let largest = __cpuid(0x8000_0000).eax;
    if largest > 0x8000_0000 && __cpuid(0x8000_0001).edx >> 26 & 1 == 1 {
        PageSize::Size1G
    } else {
        PageSize::Size2M
    }
}

impl Mmu {
    /// Page tables that map everything to itself: the firmware's code to be executed, its constants to be read, its data to be read and
    /// written, without the page below the stack. They stay where they are for the life of the program.
    pub(crate) fn new(layout: MemoryLayout) -> Result<Self, MmuError> {
        let text = address(&raw const __text_start);
        let rodata = address(&raw const __rodata_start);
        let data = address(&raw const __data_start);
        let guard = address(&raw const __stack_guard);
        let after_guard = guard + PAGE as u64;
        let own_end = address(&raw const __firmware_end).next_multiple_of(PAGE as u64);
        let max_page = max_page();
        // One table for each GiB where pages are smaller, and one for each 512 GiB.
        let gibs = usize::try_from(layout.end >> 30).unwrap_or_default();
        let per_gib = if max_page == PageSize::Size1G { 0 } else { gibs };
        let count = MAX_TABLES + per_gib + (gibs >> 9) + layout.spare;
        let bytes = count.checked_mul(PAGE).ok_or(MmuError::NoMemory)?;
        let layout_of_tables = core::alloc::Layout::from_size_align(bytes, PAGE);
        let layout_of_tables = layout_of_tables.ok().ok_or(MmuError::NoMemory)?;
        // SAFETY: the size is not zero.
        let place = unsafe { alloc(layout_of_tables) };
        if place.is_null() {
            return Err(MmuError::NoMemory);
        }
        let tables = PageTables::new(Scheme::X86_64, address(place), count)?;
        let mut tables = tables.with_max_page_size(max_page);
        for (start, end, access) in [
            (0, text, layout.rest),
            (text, rodata, Access::EXECUTE),
            (rodata, data, Access::empty()),
            (data, guard, Access::WRITE),
            (after_guard, own_end, Access::WRITE),
            (own_end, layout.end, layout.rest),
        ] {
            if start < end {
                let mapping = Mapping::identity(start, end - start, Attributes::normal(access));
                tables.map(&mapping)?;
            }
        }
        let place = place.cast();
        let mmu = Self { tables, place };
        mmu.write();
        Ok(mmu)
    }

    /// Changes the access to a range.
    #[cfg(feature = "efi")]
    pub(crate) fn protect(&mut self, start: u64, len: u64, access: Access) -> Result<(), MapError> {
        self.tables.protect(start, len, access)?;
        self.write();
        // SAFETY: the tables are in use, so nothing but translations is forgotten.
        unsafe { self.activate() };
        Ok(())
    }

    /// Copies the tables to their place.
    fn write(&self) {
        let mut place = self.place;
        for table in self.tables.tables() {
            // SAFETY: there is room for all tables, in pages of their own that only the CPU reads.
            unsafe { place.write(*table) };
            place = place.wrapping_add(1);
        }
    }

    /// Makes the CPU use the tables.
    ///
    /// # Safety
    ///
    /// All memory in use is mapped.
    pub(crate) unsafe fn activate(&self) {
        // SAFETY: every CPU with 64-bit mode has the register; Intel's and AMD's all have the bit.
        unsafe {
            asm!("rdmsr", "or eax, {nxe}", "wrmsr", nxe = const EFER_NXE, in("ecx") MSR_EFER, out("eax") _, out("edx") _, options(nostack));
        }
        let root = self.tables.root_register();
        // SAFETY: the tables map code, stack and all memory in use, as the caller guarantees.
        unsafe { asm!("mov cr3, {}", in(reg) root, options(nostack, preserves_flags)) };
    }
}

/// Makes the memory of the firmware what it is for, and all other memory below 4 GiB data.
pub(crate) fn protect() -> Result<(), MmuError> {
    let mmu = Mmu::new(MemoryLayout {
        end: MAPPED_END,
        rest: Access::WRITE,
        spare: 0,
    })?;
    // SAFETY: all memory in use is below 4 GiB.
    unsafe { mmu.activate() };
    Ok(())
}
