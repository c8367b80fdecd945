#![doc = include_str!("../README.md")]

pub mod debug;
pub mod gic;
pub mod layout;
pub mod nisv;
pub mod register;
pub mod rewind;
pub mod state;

mod bare_config;
mod boot;
mod error;
mod features;
mod host_query;
#[cfg(all(target_os = "linux", target_arch = "aarch64"))]
mod kvm;

pub use bare_config::BareConfig;
pub use boot::{MachineBoot, boot_machine};
pub use error::KvmError;
pub use features::{HostCapabilities, VcpuFeatures};
pub use gic::IccRegister;
pub use host_query::{host_capabilities, probe};
pub use hv_core::{Board, BoardDevices};
pub use hv_kvm::HarnessError;
#[cfg(all(target_os = "linux", target_arch = "aarch64"))]
pub use kvm::{BareState, KvmBareVcpu, KvmBareVm, KvmVcpu, KvmVm, board_on_kvm};
pub use layout::{GicLayout, Layout, LayoutError};
pub use register::{Register, RegisterGroup, RegisterValue, WidthError};
pub use state::{GicState, MpState, StateError, VcpuEvents, VcpuState};
