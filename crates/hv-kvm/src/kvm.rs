//! KVM file descriptors and ioctls that are common to all architectures.

mod vcpu;
mod vm;

use kvm_bindings::KVM_API_VERSION;
use kvm_ioctls::{Cap, Kvm};

pub use self::{
    vcpu::{RunStatus, VcpuFile},
    vm::VmFile,
};
use crate::HarnessError;

/// Opens `/dev/kvm` and checks the API version, the capabilities that every harness needs, and those in `needed`: pairs of a
/// capability and its name in the KVM API.
///
/// # Errors
///
/// [`HarnessError::Open`], [`HarnessError::ApiVersion`] and [`HarnessError::MissingCapability`].
pub fn open(needed: &[(Cap, &'static str)]) -> Result<Kvm, HarnessError> {
    const ALWAYS: [(Cap, &str); 3] = [
        (Cap::UserMemory, "KVM_CAP_USER_MEMORY"),
        (Cap::ImmediateExit, "KVM_CAP_IMMEDIATE_EXIT"),
        (Cap::MpState, "KVM_CAP_MP_STATE"),
    ];
    let kvm = Kvm::new().map_err(|error| HarnessError::Open(error.into()))?;
    let expected = i32::try_from(KVM_API_VERSION).unwrap_or(i32::MAX);
    let found = kvm.get_api_version();
    if found != expected {
        return Err(HarnessError::ApiVersion { found, expected });
    }
    for &(cap, name) in ALWAYS.iter().chain(needed) {
        if !kvm.check_extension(cap) {
            return Err(HarnessError::MissingCapability { name });
        }
    }
    Ok(kvm)
}
