//! Capabilities and properties of the host that all machines use.
#![expect(
    unsafe_code,
    reason = "asks the host for its page size, and passes a structure to KVM_CREATE_DEVICE"
)]

use hv_kvm::Capability;
use kvm_bindings::{
    KVM_CAP_ARM_NISV_TO_USER, KVM_CAP_ARM_PSCI_0_2, KVM_CAP_ARM_VM_IPA_SIZE, KVM_CAP_ONE_REG,
    KVM_CAP_VCPU_EVENTS, KVM_CREATE_DEVICE_TEST, KVMIO, kvm_create_device, kvm_device_type, kvm_enable_cap,
};
use kvm_ioctls::{Kvm, VmFd};
use vmm_sys_util::{ioctl::ioctl_with_mut_ref, ioctl_iowr_nr};

use super::request::failed_request;
use crate::KvmError;

ioctl_iowr_nr!(KVM_CREATE_DEVICE, KVMIO, 0xe0, kvm_create_device);

pub(super) const ONE_REG: Capability = Capability::required(
    KVM_CAP_ONE_REG,
    "KVM_CAP_ONE_REG",
    "state of vCPUs: registers by their numbers",
);

pub(super) const PSCI: Capability = Capability::required(
    KVM_CAP_ARM_PSCI_0_2,
    "KVM_CAP_ARM_PSCI_0_2",
    "guests start CPUs and power off",
);

pub(super) const VCPU_EVENTS: Capability = Capability::required(
    KVM_CAP_VCPU_EVENTS,
    "KVM_CAP_VCPU_EVENTS",
    "state of vCPUs: pending exceptions",
);

pub(super) const NISV_TO_USER: Capability = Capability::required(
    KVM_CAP_ARM_NISV_TO_USER,
    "KVM_CAP_ARM_NISV_TO_USER",
    "accesses that KVM cannot decode are reported",
);

pub(super) const IPA_SIZE: Capability = Capability::limit(
    KVM_CAP_ARM_VM_IPA_SIZE,
    "KVM_CAP_ARM_VM_IPA_SIZE",
    "largest number of guest physical address bits; zero for 40",
);

/// Number of bits of guest physical addresses on hosts that do not report it.
const DEFAULT_ADDRESS_BITS: u32 = 40;

/// Number of bits of guest physical addresses; `None` on hosts that do not report it.
fn ipa_limit(kvm: &Kvm) -> Result<Option<u32>, KvmError> {
    let bits = u32::try_from(hv_kvm::capability(kvm, KVM_CAP_ARM_VM_IPA_SIZE)?).ok();
    Ok(bits.filter(|&bits| bits > 0))
}

/// Number of bits of guest physical addresses.
pub(super) fn address_bits(kvm: &Kvm) -> Result<u32, KvmError> {
    Ok(ipa_limit(kvm)?.unwrap_or(DEFAULT_ADDRESS_BITS))
}

/// Creates a virtual machine with the largest guest physical address space of the host, which exits on accesses without a valid instruction
/// syndrome.
pub(super) fn create_vm(kvm: &Kvm) -> Result<VmFd, KvmError> {
    let ipa_limit = ipa_limit(kvm)?;
    let fd = hv_kvm::retry_interrupted(|| match ipa_limit {
        Some(bits) => kvm.create_vm_with_ipa_size(bits),
        None => kvm.create_vm(),
    })
    .map_err(failed_request("KVM_CREATE_VM"))?;
    // Without this capability, KVM_RUN fails on an access without a valid instruction syndrome and does not report the
    // address.
    let nisv = kvm_enable_cap {
        cap: KVM_CAP_ARM_NISV_TO_USER,
        ..kvm_enable_cap::default()
    };
    fd.enable_cap(&nisv)
        .map_err(failed_request("KVM_ENABLE_CAP (KVM_CAP_ARM_NISV_TO_USER)"))?;
    Ok(fd)
}

/// Whether the host has devices of this type. No device is created.
pub(super) fn has_device(vm: &VmFd, kind: kvm_device_type) -> Result<bool, KvmError> {
    let mut device = kvm_create_device {
        type_: kind,
        fd: 0,
        flags: KVM_CREATE_DEVICE_TEST,
    };
    hv_kvm::retry_interrupted(|| {
        // SAFETY: the descriptor is that of a virtual machine, and the kernel reads and writes one `kvm_create_device` at a
        // valid pointer. With this flag it does not create a descriptor.
        match unsafe { ioctl_with_mut_ref(vm, KVM_CREATE_DEVICE(), &mut device) } {
            0 => Ok(true),
            _ => match kvm_ioctls::Error::last() {
                error if error.errno() == libc::ENODEV => Ok(false),
                error => Err(error),
            },
        }
    })
    .map_err(failed_request("KVM_CREATE_DEVICE (KVM_CREATE_DEVICE_TEST)"))
}

/// Page size of the host.
pub(super) fn page_size() -> u64 {
    // SAFETY: sysconf has no preconditions.
    let size = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    u64::try_from(size).unwrap_or(4096)
}
