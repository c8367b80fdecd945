//! Labels of the pieces of a plan, by which a request may fix their addresses ([`boot_core::FixedAddress`]).

/// The start info, with the memory map, the module list and the command lines of the modules behind it.
pub const START_INFO: &str = "start info";

/// The command line.
pub const COMMAND_LINE: &str = "command line";

/// The initrd, if the boot has one.
pub const INITRD: &str = "initrd";
