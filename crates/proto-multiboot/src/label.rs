//! Labels of the pieces of a plan, by which a request may fix their addresses ([`boot_core::FixedAddress`]).

/// The boot information: information structure or tags, and the strings and tables that they refer to.
pub const BOOT_INFORMATION: &str = "boot information";

/// The initrd, if the boot has one.
pub const INITRD: &str = "initrd";
