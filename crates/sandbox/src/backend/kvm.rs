//! Sandboxes on KVM.

use hv_kvm_x86::{BareConfig, KvmBareVcpu, KvmBareVm, KvmError};
use sandbox_abi::PORT_DOORBELL;

use super::Backend;

/// The hypervisor of the Linux kernel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Kvm;

impl Backend for Kvm {
    type Vm = KvmBareVm;
    type Vcpu = KvmBareVcpu;
    type Error = KvmError;

    fn create(&self) -> Result<KvmBareVm, KvmError> {
        KvmBareVm::new(BareConfig::new(PORT_DOORBELL))
    }
}
