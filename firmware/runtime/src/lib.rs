#![doc = include_str!("../README.md")]
#![cfg_attr(not(test), no_std)]

extern crate alloc;

mod chain;
mod console;
pub mod heap;
mod memory;

pub use chain::Chain;
pub use console::{Console, Writer};
pub use memory::PhysicalMemory;
