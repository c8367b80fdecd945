//! State of a bare machine that its handle and its vCPU share.

use hv_kvm::VmFile;

use super::{config::BareConfig, msr_filter::MsrFilter, process::Process};

/// State that the handle of the machine and its vCPU share. The memory of the guest stays mapped while one of them exists.
#[derive(Debug)]
pub(super) struct Machine {
    pub(super) file: VmFile,
    pub(super) process: &'static Process,
    pub(super) config: BareConfig,
    pub(super) filter: MsrFilter,
}
