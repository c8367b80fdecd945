//! Labels of the loads of a plan.

/// Code of the host that loads registers inside the guest.
pub const REWIND_CODE: &str = "register loader";

/// The page that tells the guest its memory and its doorbell.
pub const BOOT_INFO: &str = "boot information";

/// x86_64: global descriptor table and task state segment.
pub const GDT: &str = "GDT and TSS";

/// x86_64: interrupt descriptor table.
pub const IDT: &str = "IDT";

/// The page tables that the guest starts with.
pub const PAGE_TABLES: &str = "page tables";
