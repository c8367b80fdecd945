//! Page tables: code that cannot be written, data that cannot be executed.
#![expect(unsafe_code, reason = "page tables of the CPU")]

use alloc::alloc::alloc;
use core::alloc::Layout;
use core::arch::asm;

use boot_paging::{Access, Attributes, MapError, Mapping, PageTables, Scheme, TablesError};
use fw_runtime::address;

/// Number of tables: one of each upper level, one for each GiB, and some for the firmware's own pages.
const MAX_TABLES: usize = 16;
/// End of the memory that the page tables map.
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
}

/// Why the page tables of the entry stay.
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

/// Loads page tables that map everything below 4 GiB to itself: the firmware's code to be executed, its constants to be read, all else
/// to be read and written, without the page below the stack.
pub(crate) fn protect() -> Result<(), MmuError> {
    let text = address(&raw const __text_start);
    let rodata = address(&raw const __rodata_start);
    let data = address(&raw const __data_start);
    let guard = address(&raw const __stack_guard);
    let after_guard = guard + PAGE as u64;
    let layout = Layout::from_size_align(MAX_TABLES * PAGE, PAGE)
        .ok()
        .ok_or(MmuError::NoMemory)?;
    // SAFETY: the size is not zero.
    let place = unsafe { alloc(layout) };
    if place.is_null() {
        return Err(MmuError::NoMemory);
    }
    let mut tables = PageTables::new(Scheme::X86_64, address(place), MAX_TABLES)?;
    for (start, end, access) in [
        (0, text, Access::WRITE),
        (text, rodata, Access::EXECUTE),
        (rodata, data, Access::empty()),
        (data, guard, Access::WRITE),
        (after_guard, MAPPED_END, Access::WRITE),
    ] {
        if start < end {
            let mapping = Mapping::identity(start, end - start, Attributes::normal(access));
            tables.map(&mapping)?;
        }
    }
    let bytes = tables.to_bytes();
    // SAFETY: the tables have at most as many bytes as were allocated, and are other memory.
    unsafe { core::ptr::copy_nonoverlapping(bytes.as_ptr(), place, bytes.len()) };
    // SAFETY: every CPU with 64-bit mode has the register; Intel's and AMD's all have the bit.
    unsafe {
        asm!("rdmsr", "or eax, {nxe}", "wrmsr", nxe = const EFER_NXE, in("ecx") MSR_EFER, out("eax") _, out("edx") _, options(nostack));
    }
    // SAFETY: the tables map code, stack and all memory in use as before.
    unsafe { asm!("mov cr3, {}", in(reg) tables.root_register(), options(nostack, preserves_flags)) };
    Ok(())
}
