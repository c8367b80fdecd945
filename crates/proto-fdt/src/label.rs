//! Labels of the pieces of a plan, by which a request may fix their addresses ([`boot_core::FixedAddress`]).

/// The device tree.
pub const DEVICE_TREE: &str = "device tree";

/// The initrd, if the boot has one.
pub const INITRD: &str = "initrd";

/// The EFI tables, if the kernel gets ACPI tables: system table, configuration tables and memory map.
pub const EFI_TABLES: &str = "EFI tables";
