//! Runtime services, UEFI 2.10 chapter 8.
//!
//! Everything that they use is one structure in runtime memory, [`block::RuntimeBlock`], which is found by one pointer. They use no
//! heap, no formatting and no table of functions but the two of the structure, which `SetVirtualAddressMap` converts.

mod block;
mod entry;
mod services;
mod variables;
mod virtual_map;

pub(crate) use block::{
    MAX_VENDOR, RuntimeBlock, VirtualEvent, add_table, exit_boot_services, install, remove, seal,
    seal_system_table, with_variables,
};
pub use block::{RuntimeHooks, VARIABLE_STORE};
pub(crate) use entry::table;
