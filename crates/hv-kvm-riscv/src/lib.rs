#![doc = include_str!("../README.md")]

pub mod layout;
pub mod plic;
pub mod register;
pub mod sbi;
pub mod seed;
pub mod state;

mod board;
mod boot;
mod error;
mod host;
#[cfg(all(target_os = "linux", target_arch = "riscv64"))]
mod kvm;

pub use board::{Board, BoardDevices, SharedSink};
pub use boot::{MachineBoot, boot_machine};
pub use error::KvmError;
pub use host::{Host, host};
#[cfg(all(target_os = "linux", target_arch = "riscv64"))]
pub use kvm::{KvmVcpu, KvmVm};
pub use layout::{Layout, LayoutError};
pub use plic::{HartInputs, Plic};
pub use register::{Group, IsaExtension, Register, SbiExtension, Value};
pub use sbi::SbiConsole;
pub use state::{Activity, VcpuState};
