#![doc = include_str!("../README.md")]
#![cfg_attr(not(test), no_std)]

extern crate alloc;

mod console;
pub mod heap;
mod memory;
mod options;
mod symbols;

pub use console::{Console, Writer};
pub use memory::{PhysicalMemory, without};
pub use options::{BootMode, Options, UnknownMode};
pub use symbols::{address, between};
