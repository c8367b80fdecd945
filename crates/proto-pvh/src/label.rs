//! Labels of the pieces of a plan, by which a request may fix their addresses ([`boot_core::FixedAddress`]).

/// The start info, with the memory map, the module list and the command lines of the modules behind it, except those that
/// have an address of their own.
pub const START_INFO: &str = "start info";

/// The memory map, if the request fixes its address. Otherwise it is part of [`START_INFO`].
pub const MEMORY_MAP: &str = "memory map";

/// The module list, if the request fixes its address and the boot has modules. Otherwise it is part of [`START_INFO`].
pub const MODULE_LIST: &str = "module list";

/// The command line.
pub const COMMAND_LINE: &str = "command line";

/// The initrd, if the boot has one.
pub const INITRD: &str = "initrd";
