#![doc = include_str!("../README.md")]

pub mod board;
pub mod gic;
pub mod layout;
pub mod nisv;
pub mod reg;
pub mod state;

mod boot;
mod error;
mod features;
#[cfg(all(target_os = "linux", target_arch = "aarch64"))]
mod kvm;

pub use board::{Board, BoardDevices};
pub use boot::{MachineBoot, boot_machine};
pub use error::KvmError;
pub use features::{HostSupport, VcpuFeatures};
pub use gic::IccRegister;
#[cfg(all(target_os = "linux", target_arch = "aarch64"))]
pub use kvm::{KvmVcpu, KvmVm};
pub use layout::{Gic, Layout, LayoutError, SerialPort};
pub use reg::{RegGroup, RegId, RegValue, WidthError};
pub use state::{Activity, Events, GicState, StateError, VcpuState};
