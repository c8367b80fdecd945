//! Addresses of Firecracker v1.12.0 in guest physical memory (`src/vmm/src/arch/x86_64/layout.rs`, `regs.rs` and `mod.rs`).
//!
//! ```text
//!        0x500  boot GDT, 4 entries; at 0x520 an IDT of one empty entry
//!       0x6000  PVH: start info, at 0x6040 the module list
//!       0x7000  PVH: memory map; Linux: zero page
//!       0x8ff0  Linux: initial stack pointer
//!       0x9000  Linux: page tables
//!     0x2_0000  command line
//!     0x9_fc00  system data, reserved: ACPI tables
//!     0xe_0000  ACPI RSDP
//!    0x10_0000  RAM
//!  0xd000_0000  hole for devices
//! 0x1_0000_0000 the rest of RAM
//! ```

/// Boot GDT.
pub const GDT: u64 = 0x500;
/// Boot IDT.
pub const IDT: u64 = 0x520;
/// `hvm_start_info`.
pub const PVH_INFO: u64 = 0x6000;
/// The module list of the start info.
pub const PVH_MODULES: u64 = 0x6040;
/// The memory map of the start info.
pub const PVH_MEMORY_MAP: u64 = 0x7000;
/// The zero page.
pub const ZERO_PAGE: u64 = 0x7000;
/// Initial stack pointer and frame pointer.
pub const STACK_POINTER: u64 = 0x8ff0;
/// Page tables: PML4, PDPT and page directories.
pub const PAGE_TABLES: u64 = 0x9000;
/// The kernel command line.
pub const COMMAND_LINE: u64 = 0x2_0000;
/// Start of the reserved region for system data, and end of low RAM.
pub const SYSTEM_DATA: u64 = 0x9_fc00;
/// The ACPI RSDP, and end of the region for system data.
pub const RSDP: u64 = 0xe_0000;
/// Start of high RAM.
pub const HIGH_RAM: u64 = 0x10_0000;
/// Start of the hole for devices.
pub const DEVICE_HOLE: u64 = 0xd000_0000;
/// End of the hole for devices.
pub const DEVICE_HOLE_END: u64 = 1 << 32;
/// The I/O APIC.
pub const IO_APIC: u32 = 0xfec0_0000;
/// The local APICs.
pub const LOCAL_APIC: u32 = 0xfee0_0000;
