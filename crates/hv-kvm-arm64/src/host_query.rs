//! Queries of this host's KVM, available on every host.

use hv_kvm::{HarnessError, KvmProbe};

use crate::{HostCapabilities, KvmError};

/// Queries the KVM of this host, without a virtual machine.
///
/// # Errors
///
/// [`HarnessError::UnsupportedHost`] if the host is not Linux on arm64, [`HarnessError::Open`] on a host without KVM.
pub fn probe() -> Result<KvmProbe, HarnessError> {
    imp::probe()
}

/// Queries the capabilities of this host's KVM, with temporary virtual machines.
///
/// # Errors
///
/// [`HarnessError::UnsupportedHost`] if the host is not Linux on arm64, [`HarnessError::Open`] on a host without KVM, and errors
/// of KVM.
pub fn host_capabilities() -> Result<HostCapabilities, KvmError> {
    imp::host_capabilities()
}

#[cfg(all(target_os = "linux", target_arch = "aarch64"))]
mod imp {
    use super::{HarnessError, HostCapabilities, KvmError, KvmProbe};
    use crate::kvm::{CAPABILITIES, KvmVm};

    pub(super) fn probe() -> Result<KvmProbe, HarnessError> {
        hv_kvm::probe(&CAPABILITIES)
    }

    pub(super) fn host_capabilities() -> Result<HostCapabilities, KvmError> {
        KvmVm::host_capabilities()
    }
}

#[cfg(not(all(target_os = "linux", target_arch = "aarch64")))]
mod imp {
    use boot_core::Arch;

    use super::{HarnessError, HostCapabilities, KvmError, KvmProbe};

    pub(super) fn probe() -> Result<KvmProbe, HarnessError> {
        Err(HarnessError::UnsupportedHost { guest: Arch::Aarch64 })
    }

    pub(super) fn host_capabilities() -> Result<HostCapabilities, KvmError> {
        Err(HarnessError::UnsupportedHost { guest: Arch::Aarch64 }.into())
    }
}
