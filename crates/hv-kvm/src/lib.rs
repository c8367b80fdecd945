#![doc = include_str!("../README.md")]

pub mod exit_reason;

mod boot;
mod capability;
mod error;
#[cfg(target_os = "linux")]
mod kick;
#[cfg(all(
    target_os = "linux",
    any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "riscv64")
))]
mod kvm;
mod ram;
mod reset;

pub use boot::MachineBoot;
pub use capability::{Capability, KvmProbe, Need};
pub use error::HarnessError;
#[cfg(target_os = "linux")]
pub use kick::{SignalKicker, VcpuEntry, install_kick_handler, kick_signal};
#[cfg(all(
    target_os = "linux",
    any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "riscv64")
))]
pub use kvm::{
    RunStatus, VcpuFile, VmFile, capability, open, probe, retry_interrupted, shared, vm_capability,
};
pub use ram::RamConstraints;
pub use reset::{ResetState, state_of_vcpu};
