//! Machine check banks of a vCPU.
#![expect(unsafe_code, reason = "passes the address of the value to the kernel")]

use kvm_bindings::KVMIO;
use kvm_ioctls::{Error, VcpuFd};
use vmm_sys_util::{ioctl::ioctl_with_ref, ioctl_iow_nr};

use crate::{KvmError, kvm::request::failed_request};

ioctl_iow_nr!(KVM_X86_SETUP_MCE, KVMIO, 0x9c, u64);

/// Reduces the machine check banks from 32 to 1, the least that KVM accepts. A guest can write the four registers of each bank, also if its
/// CPUID table has no machine checks, so a rewind would have to write them all.
pub(super) fn limit_banks(fd: &VcpuFd) -> Result<(), KvmError> {
    /// The register `MCG_CAP`: the number of banks, and no features.
    const MCG_CAP: u64 = 1;
    // SAFETY: the kernel reads 64 bits from a constant.
    let result = unsafe { ioctl_with_ref(fd, KVM_X86_SETUP_MCE(), &MCG_CAP) };
    if result == 0 {
        Ok(())
    } else {
        Err(failed_request("KVM_X86_SETUP_MCE")(Error::last()))
    }
}
