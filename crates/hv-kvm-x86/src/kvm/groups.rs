//! Groups of registers that one ioctl reads or writes.

use hv_kvm::Capability;
use kvm_bindings::{KVM_CAP_DEBUGREGS, KVM_CAP_VCPU_EVENTS, KVM_CAP_XCRS, KVM_CAP_XSAVE, kvm_xcrs};
use kvm_ioctls::VcpuFd;

use super::request::failed_request;
use crate::KvmError;

/// Capability for the state of vCPUs.
pub(super) const VCPU_EVENTS: Capability = Capability::required(
    KVM_CAP_VCPU_EVENTS,
    "KVM_CAP_VCPU_EVENTS",
    "state of vCPUs: pending interrupts and exceptions",
);

/// Capability for the state of vCPUs.
pub(super) const DEBUGREGS: Capability = Capability::required(
    KVM_CAP_DEBUGREGS,
    "KVM_CAP_DEBUGREGS",
    "state of vCPUs: debug registers",
);

/// Capability for the state of vCPUs.
pub(super) const XSAVE: Capability = Capability::required(
    KVM_CAP_XSAVE,
    "KVM_CAP_XSAVE",
    "state of vCPUs: floating-point and vector registers",
);

/// Capability for the state of vCPUs.
pub(super) const XCRS: Capability = Capability::required(
    KVM_CAP_XCRS,
    "KVM_CAP_XCRS",
    "state of vCPUs: extended control registers",
);

/// Reads extended control register 0: the enabled state components.
pub(super) fn read_xcr0(fd: &VcpuFd) -> Result<u64, KvmError> {
    let xcrs = fd.get_xcrs().map_err(failed_request("KVM_GET_XCRS"))?;
    let used = usize::try_from(xcrs.nr_xcrs).unwrap_or(usize::MAX);
    // A CPU without XSAVE has the x87 component only.
    Ok(xcrs
        .xcrs
        .iter()
        .take(used)
        .find(|xcr| xcr.xcr == 0)
        .map_or(1, |xcr| xcr.value))
}

/// Writes extended control register 0.
pub(super) fn write_xcr0(fd: &VcpuFd, value: u64) -> Result<(), KvmError> {
    let mut xcrs = kvm_xcrs {
        nr_xcrs: 1,
        ..kvm_xcrs::default()
    };
    if let Some(first) = xcrs.xcrs.first_mut() {
        first.value = value;
    }
    fd.set_xcrs(&xcrs).map_err(failed_request("KVM_SET_XCRS"))
}
