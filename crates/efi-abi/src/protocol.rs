//! Protocols that the firmware provides. Interfaces are in the firmware's own memory, and are never freed but those of files.

pub(crate) mod block_io;
pub(crate) mod collation;
pub(crate) mod device_path_text;
pub(crate) mod disk_io;
pub(crate) mod file;
mod file_info;
pub(crate) mod memory_attribute;
pub(crate) mod riscv_boot;
pub(crate) mod rng;
pub(crate) mod text_input;
pub(crate) mod text_output;
