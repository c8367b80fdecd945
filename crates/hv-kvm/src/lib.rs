#![doc = include_str!("../README.md")]

pub mod exit_reason;

mod error;
#[cfg(target_os = "linux")]
mod kick;
#[cfg(all(
    target_os = "linux",
    any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "riscv64")
))]
mod kvm;
mod ram;

pub use error::HarnessError;
#[cfg(target_os = "linux")]
pub use kick::{Kicker, install_kick_handler, kick_signal};
#[cfg(all(
    target_os = "linux",
    any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "riscv64")
))]
pub use kvm::{Entry, VcpuFile, VmFile, open};
pub use ram::RamRules;
