//! State of a bare machine that its handle and its vCPU share.

use hv_core::Doorbell;
use hv_kvm::VmFile;

use super::process::Process;
use crate::BareConfig;

/// State of the machine that its handle and its vCPU share. The memory of the guest stays mapped while one of them exists.
#[derive(Debug)]
pub(super) struct Machine {
    pub(super) file: VmFile,
    pub(super) process: &'static Process,
    pub(super) config: BareConfig,
    pub(super) doorbell: Doorbell,
}
