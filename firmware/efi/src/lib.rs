#![doc = include_str!("../README.md")]
#![cfg_attr(not(test), no_std)]

extern crate alloc;

mod boot;
pub mod cmos;
mod event;
mod memory;
mod options;
pub mod path;
mod storage;

pub use boot::{BootError, DEFAULT_ARM64, DEFAULT_RISCV64, DEFAULT_X86_64, Setup, boot, boot_with};
pub use event::{Event, Part};
pub use memory::{InUse, map_of};
pub use options::{BootMode, Options, UnknownMode};
pub use storage::Disk;
