#![doc = include_str!("../README.md")]

pub mod layout;
pub mod plic;
pub mod register;
pub mod rewind;
pub mod sbi;
pub mod seed_csr;
pub mod state;

mod bare;
mod boot;
mod error;
mod host;
mod host_query;
#[cfg(all(target_os = "linux", target_arch = "riscv64"))]
mod kvm;
mod shared_console;

pub use bare::{BareConfig, BareState};
pub use boot::{MachineBoot, boot_machine};
pub use error::KvmError;
pub use host::HostCapabilities;
pub use host_query::{host_capabilities, probe};
pub use hv_core::{Board, BoardDevices};
pub use hv_kvm::HarnessError;
#[cfg(all(target_os = "linux", target_arch = "riscv64"))]
pub use kvm::{KvmBareVcpu, KvmBareVm, KvmVcpu, KvmVm, board_on_kvm};
pub use layout::{IrqchipLayout, Layout, LayoutError};
pub use plic::{HartInterrupts, Plic};
pub use register::{IsaExtension, Register, RegisterGroup, RegisterValue, SbiExtension};
pub use sbi::SbiConsole;
pub use shared_console::SharedConsole;
pub use state::{ImsicRegister, MpState, VcpuState};
