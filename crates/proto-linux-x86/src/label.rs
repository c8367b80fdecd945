//! Labels of the pieces of a plan, by which a request may fix their addresses ([`boot_core::FixedAddress`]).

/// The zero page, `struct boot_params`.
pub const ZERO_PAGE: &str = "zero page";

/// The GDT.
pub const GDT: &str = "GDT";

/// The page tables; plans for the 64-bit entry point only.
pub const PAGE_TABLES: &str = "page tables";

/// The command line.
pub const COMMAND_LINE: &str = "command line";

/// The list of `setup_data` nodes, if the boot has one.
pub const SETUP_DATA: &str = "setup data";

/// The initrd, if the boot has one.
pub const INITRD: &str = "initrd";
