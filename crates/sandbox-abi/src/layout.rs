//! Guest physical addresses. In the page tables that a guest starts with, each virtual address is the physical one.
//!
//! ```text
//! 0x0000_0000 ┬ not mapped: null pointers
//! 0x3fe0_0000 ├ host pages: the guest cannot write them
//!             │   + 0x00_0000  code that loads registers             execute
//!             │   + 0x00_1000  the registers                         read
//!             │   + 0x00_9000  boot information                      read
//!             │   + 0x00_a000  x86: GDT and TSS                      read
//!             │   + 0x00_b000  x86: IDT                              read
//!             │   + 0x01_0000  inbox, up to 1 MiB                    read
//! 0x4000_0000 ├ image: headers and constants                        read
//!             │        code                                         execute
//! next page   ├ memory: relocated constants                         read
//!             │         data                                        read-write
//!             │         guard, fault stack, guard, stack, guard     read-write, guards are not mapped
//!             │         heap, from the next multiple of 2 MiB        read-write
//!             ├ exchange, directly after the heap: never in a snapshot
//!             │   outbox, up to 1 MiB                                read-write
//!             │   page tables, directly after the outbox             not mapped
//!             │   if the guest copies pages that it writes, these page tables
//!             │   and the scratch area behind them                   read-write
//!             ┴
//! 0x10_0000_0000 ┬ page tables of mapped files and regions              not mapped
//! 0x10_0020_0000 ├ mapped files and regions, each from a multiple       read, or read-write
//!                │ of 2 MiB on, with at least one page between them
//! 0x3f_c000_0000 ┴
//! ```
//!
//! All addresses are below 2^38, the lower half of Sv39.

/// Size of a page.
pub const PAGE: u64 = 0x1000;
/// First of the pages that the host writes and the guest cannot.
pub const HOST: u64 = 0x3fe0_0000;
/// Length of the host pages; the image follows.
pub const HOST_LEN: u64 = 0x20_0000;
/// Code of the host that loads registers inside the guest.
pub const REWIND_CODE: u64 = HOST;
/// Registers that this code loads.
pub const REWIND_IMAGE: u64 = 0x3fe0_1000;
/// Largest length of these registers.
pub const REWIND_IMAGE_LEN: u64 = 0x8000;
/// [`BootInfo`](crate::BootInfo), one page.
pub const BOOT_INFO: u64 = 0x3fe0_9000;
/// x86_64: global descriptor table and task state segment, one page.
pub const GDT: u64 = 0x3fe0_a000;
/// x86_64: interrupt descriptor table, one page.
pub const IDT: u64 = 0x3fe0_b000;
/// Messages of the host.
pub const INBOX: u64 = 0x3fe1_0000;
/// First address of the image.
pub const IMAGE: u64 = 0x4000_0000;
/// End of the image, exclusive.
pub const IMAGE_END: u64 = 0x5000_0000;
/// End of the memory that holds data, stacks, heap and exchange, exclusive.
pub const MEMORY_END: u64 = 0x10_0000_0000;
/// First address of the page tables of mapped files and regions.
pub const REGION_TABLES: u64 = 0x10_0000_0000;
/// Length of these page tables: one for each GiB of [`REGIONS`], one for the end of each mapping, and two above them.
pub const REGION_TABLES_LEN: u64 = 0x20_0000;
/// First address of mapped files and regions.
pub const REGIONS: u64 = 0x10_0020_0000;
/// End of mapped files and regions, exclusive. The last GiB below 2^38 may have the doorbell of arm64.
pub const REGIONS_END: u64 = 0x3f_c000_0000;
/// Alignment of the first address of each mapped file and region.
pub const REGION_ALIGN: u64 = 0x20_0000;
/// arm64: address of the doorbell on hosts without a filter for SMCCC calls, in a page of its own.
pub const MMIO_DOORBELL: u64 = 0x3f_ffff_f000;
/// Length of the guards below and above each stack.
pub const GUARD: u64 = 0x1_0000;
/// Length of the stack of exception handlers.
pub const FAULT_STACK: u64 = 0x4000;
/// Smallest length of inbox and outbox.
pub const MIN_WINDOW: u32 = 0x1000;
/// Largest length of inbox and outbox.
pub const MAX_WINDOW: u32 = 0x10_0000;
/// Alignment of the heap.
pub const HEAP_ALIGN: u64 = 0x20_0000;

const _: () = {
    assert!(HOST % HOST_LEN == 0);
    assert!(IMAGE - HOST == HOST_LEN && BOOT_INFO - REWIND_IMAGE == REWIND_IMAGE_LEN);
    // Handlers of guests compare the bits above.
    assert!(REGION_TABLES.is_power_of_two());
    assert!(MEMORY_END <= REGION_TABLES && REGION_TABLES + REGION_TABLES_LEN == REGIONS);
    // Entries of 1 GiB in a page table: those of regions belong to nothing else.
    assert!(REGION_TABLES % (1 << 30) == 0 && REGIONS_END % (1 << 30) == 0);
    assert!(REGIONS % REGION_ALIGN == 0 && REGIONS_END <= MMIO_DOORBELL && MMIO_DOORBELL < 1 << 38);
};
