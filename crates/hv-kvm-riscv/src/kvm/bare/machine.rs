//! State of a bare machine that its handle and its vCPU share.

use hv_kvm::VmFile;

use super::process::Process;
use crate::BareConfig;

/// State that the handle of the machine and its vCPU share. The memory of the guest stays mapped while one of them exists.
#[derive(Debug)]
pub(super) struct Machine {
    pub(super) file: VmFile,
    pub(super) process: &'static Process,
    pub(super) config: BareConfig,
    /// Value of [`Register::SBI_DISABLE`](crate::Register::SBI_DISABLE).
    pub(super) disabled_extensions: u64,
}
