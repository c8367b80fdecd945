//! Offset of a vCPU's time stamp counter.
#![expect(unsafe_code, reason = "passes the address of the value to the kernel")]

use kvm_bindings::{KVM_VCPU_TSC_CTRL, KVM_VCPU_TSC_OFFSET, KVMIO, kvm_device_attr};
use kvm_ioctls::{Error, VcpuFd};
use vmm_sys_util::{ioctl::ioctl_with_ref, ioctl_iow_nr};

use crate::{KvmError, kvm::request::failed_request};

ioctl_iow_nr!(KVM_SET_DEVICE_ATTR, KVMIO, 0xe1, kvm_device_attr);
ioctl_iow_nr!(KVM_GET_DEVICE_ATTR, KVMIO, 0xe2, kvm_device_attr);

fn attribute(offset: *mut u64) -> kvm_device_attr {
    kvm_device_attr {
        flags: 0,
        group: KVM_VCPU_TSC_CTRL,
        attr: KVM_VCPU_TSC_OFFSET.into(),
        // The kernel takes the address as an integer.
        addr: boot_core::arith::to_u64(offset.expose_provenance()),
    }
}

/// The offset of the guest's counter to the host's, in cycles; `None` on kernels before 5.16, which cannot read it.
pub(super) fn offset(fd: &VcpuFd) -> Option<u64> {
    let mut offset = 0;
    let attribute = attribute(&raw mut offset);
    // SAFETY: the kernel writes 64 bits to `offset`, which outlives the call.
    let result = unsafe { ioctl_with_ref(fd, KVM_GET_DEVICE_ATTR(), &attribute) };
    (result == 0).then_some(offset)
}

/// Sets the offset.
pub(super) fn set_offset(fd: &VcpuFd, mut offset: u64) -> Result<(), KvmError> {
    let attribute = attribute(&raw mut offset);
    // SAFETY: the kernel reads 64 bits from `offset`, which outlives the call.
    let result = unsafe { ioctl_with_ref(fd, KVM_SET_DEVICE_ATTR(), &attribute) };
    if result == 0 {
        Ok(())
    } else {
        Err(failed_request("KVM_SET_DEVICE_ATTR")(Error::last()))
    }
}
