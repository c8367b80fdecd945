//! Calls of the guest that KVM forwards (`KVM_ARM_VM_SMCCC_FILTER`).

use std::ptr;

use boot_core::arith;
use kvm_bindings::{
    KVM_ARM_VM_SMCCC_CTRL, KVM_ARM_VM_SMCCC_FILTER, kvm_device_attr, kvm_smccc_filter,
    kvm_smccc_filter_action_KVM_SMCCC_FILTER_FWD_TO_USER,
};
use kvm_ioctls::VmFd;

use crate::{KvmError, kvm::request::failed_request};

/// PSCI `CPU_OFF` (Arm DEN 0022). KVM handles it without an exit: it waits until another vCPU starts this one.
pub(super) const CPU_OFF: u32 = 0x8400_0002;

/// PSCI `INTERNAL_FAILURE`, in the result register.
pub(super) const INTERNAL_FAILURE: u64 = (-6_i64).cast_unsigned();

fn attribute(filter: *const kvm_smccc_filter) -> kvm_device_attr {
    kvm_device_attr {
        flags: 0,
        group: KVM_ARM_VM_SMCCC_CTRL,
        attr: KVM_ARM_VM_SMCCC_FILTER.into(),
        addr: arith::to_u64(filter.expose_provenance()),
    }
}

/// Whether KVM can forward calls, since Linux 6.4.
pub(super) fn is_supported(vm: &VmFd) -> Result<bool, KvmError> {
    match vm.has_device_attr(&attribute(ptr::null())) {
        Ok(()) => Ok(true),
        // Kernels without the attribute, and those without attributes of machines.
        Err(error) if matches!(error.errno(), libc::ENXIO | libc::EINVAL | libc::ENOTTY) => Ok(false),
        Err(error) => Err(failed_request("KVM_HAS_DEVICE_ATTR (KVM_ARM_VM_SMCCC_FILTER)")(
            error,
        )),
    }
}

/// Makes KVM exit on calls of `function`.
pub(super) fn forward(vm: &VmFd, function: u32) -> Result<(), KvmError> {
    let filter = kvm_smccc_filter {
        base: function,
        nr_functions: 1,
        action: kvm_smccc_filter_action_KVM_SMCCC_FILTER_FWD_TO_USER
            .to_le_bytes()
            .into_iter()
            .next()
            .unwrap_or_default(),
        pad: [0; 15],
    };
    vm.set_device_attr(&attribute(&raw const filter))
        .map_err(failed_request("KVM_SET_DEVICE_ATTR (KVM_ARM_VM_SMCCC_FILTER)"))
}
