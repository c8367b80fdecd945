#![doc = include_str!("../README.md")]
#![cfg_attr(not(test), no_std)]

extern crate alloc;

mod bls;
mod clock;
mod disks;
mod ecam;
mod efi;
#[cfg(test)]
mod fake;
mod hardware;
mod layout;
mod pages;
mod place;
mod print;
mod registers;
mod run;
mod serial;
mod tables;
mod target;
mod tree;

pub use hardware::Hardware;
pub use layout::Layout;
pub use place::high_place;
pub use registers::Registers;
pub use run::run;
pub use serial::{Port, PortCell};
pub use tables::{PagingError, page_tables};
pub use target::{Reset, Target};
pub use tree::TreeError;
