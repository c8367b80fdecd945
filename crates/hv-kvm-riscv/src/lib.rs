#![doc = include_str!("../README.md")]

pub mod layout;
pub mod plic;
pub mod register;
pub mod sbi;
pub mod seed;
pub mod state;

mod boot;
mod error;
mod host;
#[cfg(all(target_os = "linux", target_arch = "riscv64"))]
mod kvm;
mod sink;

pub use boot::{MachineBoot, boot_machine};
pub use error::KvmError;
pub use host::{Host, host};
pub use hv_core::{Board, BoardDevices};
pub use hv_kvm::HarnessError;
#[cfg(all(target_os = "linux", target_arch = "riscv64"))]
pub use kvm::{KvmVcpu, KvmVm, board_on_kvm};
pub use layout::{Layout, LayoutError};
pub use plic::{HartInputs, Plic};
pub use register::{Group, IsaExtension, Register, SbiExtension, Value};
pub use sbi::SbiConsole;
pub use sink::SharedSink;
pub use state::{Activity, ImsicRegister, VcpuState};
