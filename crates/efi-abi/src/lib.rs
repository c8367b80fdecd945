#![doc = include_str!("../README.md")]
#![no_std]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod access;
mod arch;
mod boot;
mod firmware;
mod keys;
mod notify;
mod platform;
mod protocol;
mod runtime;
mod screen;
mod state;
mod stored;

pub use efi_core::{Guid, Status, guids};
pub use firmware::{BuildError, Config, Exited, Firmware, ImageSource, VariableFileError};
pub use platform::Platform;
pub use runtime::{RuntimeHooks, VARIABLE_STORE};
pub use uefi_raw as raw;
