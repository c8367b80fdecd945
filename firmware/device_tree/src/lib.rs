#![doc = include_str!("../README.md")]
#![cfg_attr(not(test), no_std)]

extern crate alloc;

mod boot;
mod disks;
mod ecam;
#[cfg(test)]
mod fake;
mod hardware;
mod place;
mod registers;
mod serial;
mod tree;

pub use boot::{Setup, boot_disks};
pub use hardware::Hardware;
pub use place::high_place;
pub use registers::Registers;
pub use serial::{Port, PortCell};
pub use tree::{TreeError, tree_bytes};
