//! Query of the capabilities of this host.

use crate::{HostCapabilities, KvmError};

/// Queries the capabilities of this host's KVM, with a temporary virtual machine.
///
/// # Errors
///
/// [`HarnessError::UnsupportedHost`](hv_kvm::HarnessError::UnsupportedHost) if the host is not Linux on riscv64,
/// [`HarnessError::Open`](hv_kvm::HarnessError::Open) on a host without KVM, and errors of KVM.
pub fn host_capabilities() -> Result<HostCapabilities, KvmError> {
    imp::host_capabilities()
}

#[cfg(all(target_os = "linux", target_arch = "riscv64"))]
use crate::kvm as imp;

#[cfg(not(all(target_os = "linux", target_arch = "riscv64")))]
mod imp {
    use boot_core::Arch;
    use hv_kvm::HarnessError;

    use super::{HostCapabilities, KvmError};

    pub(super) fn host_capabilities() -> Result<HostCapabilities, KvmError> {
        Err(HarnessError::UnsupportedHost { guest: Arch::Riscv64 }.into())
    }
}
