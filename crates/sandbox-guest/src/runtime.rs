//! The program's side of the machine: entry, exceptions, window, heap.

mod boot;
mod entry;
mod exceptions;
#[cfg(feature = "allocator")]
mod heap;
mod main;
#[cfg(target_os = "linux")]
mod memory;
mod note;
mod panic;
mod port;
mod region;
mod scratch;
mod tables;
#[cfg(target_os = "linux")]
mod unwind;

pub use boot::{boot_info, heap};
pub(crate) use port::port;
pub(crate) use tables::number;
