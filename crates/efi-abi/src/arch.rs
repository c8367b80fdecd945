//! Assembly: services with variable arguments, and the start and exit of images.

#[cfg(target_arch = "aarch64")]
mod aarch64;
#[cfg(target_arch = "riscv64")]
mod riscv64;
#[cfg(target_arch = "x86_64")]
mod x86_64;

#[cfg(target_arch = "aarch64")]
pub(crate) use aarch64::{call_image, install_multiple, return_from_image, uninstall_multiple};
#[cfg(target_arch = "riscv64")]
pub(crate) use riscv64::{call_image, install_multiple, return_from_image, uninstall_multiple};
#[cfg(target_arch = "x86_64")]
pub(crate) use x86_64::{call_image, install_multiple, return_from_image, uninstall_multiple};

/// Machine type of images that the CPU runs.
pub(crate) const MACHINE: u16 = if cfg!(target_arch = "x86_64") {
    0x8664
} else if cfg!(target_arch = "aarch64") {
    0xaa64
} else {
    0x5064
};
