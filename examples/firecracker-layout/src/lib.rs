#![doc = include_str!("../README.md")]
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

pub mod acpi;
pub mod boot;
pub mod layout;
pub mod memory;
mod vmm;

pub use vmm::boot as boot_kernel;
