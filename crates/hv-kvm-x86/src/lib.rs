#![doc = include_str!("../README.md")]

pub mod bare_cpuid;
pub mod cpuid;
pub mod lapic;
pub mod layout;
pub mod msr;
pub mod rewind;
pub mod state;

mod boot;
mod error;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod kvm;
mod probe;
#[cfg(any(test, all(target_os = "linux", target_arch = "x86_64")))]
mod stored;

pub use boot::{MachineBoot, boot_machine};
pub use cpuid::{Topology, TopologyError};
pub use error::KvmError;
pub use hv_core::{Board, BoardDevices};
pub use hv_kvm::HarnessError;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
pub use hv_kvm::kick_signal;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
pub use kvm::{BareConfig, BareState, KvmBareVcpu, KvmBareVm, KvmVcpu, KvmVm, MsrAccess, board_on_kvm};
pub use lapic::{Lapic, LapicRegister};
pub use layout::{Layout, LayoutError, PcConfig, RomArea};
pub use msr::Msr;
pub use probe::{GuestExecution, ProbeError, is_emulation_failure, probe, probe_execution};
pub use state::{
    DescriptorTableRegister, Exception, Gpr, MpState, Register, RegisterError, SegmentField, SegmentName,
    VcpuEvents, VcpuState, Xsave,
};
