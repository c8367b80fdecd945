//! Sandboxes on KVM.

use super::Backend;

#[cfg(target_arch = "aarch64")]
mod host {
    pub(super) use hv_kvm_arm64::{BareConfig, KvmBareVcpu, KvmBareVm, KvmError};
    use sandbox_abi::{HVC_DOORBELL, layout};

    pub(super) const CONFIG: BareConfig = BareConfig::new(HVC_DOORBELL, layout::MMIO_DOORBELL)
        .with_rewind(layout::REWIND_CODE, layout::REWIND_IMAGE);
}

#[cfg(target_arch = "riscv64")]
mod host {
    pub(super) use hv_kvm_riscv::{BareConfig, KvmBareVcpu, KvmBareVm, KvmError};
    use sandbox_abi::{SBI_DOORBELL, layout};

    pub(super) const CONFIG: BareConfig =
        BareConfig::new(SBI_DOORBELL, layout::REWIND_CODE, layout::REWIND_IMAGE);
}

#[cfg(target_arch = "x86_64")]
mod host {
    pub(super) use hv_kvm_x86::{BareConfig, KvmBareVcpu, KvmBareVm, KvmError};
    use sandbox_abi::{PORT_DOORBELL, layout};

    pub(super) const CONFIG: BareConfig = BareConfig::new(PORT_DOORBELL).with_rewind(layout::REWIND_CODE);
}

/// The hypervisor of the Linux kernel, for guests of the host's architecture.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Kvm;

impl Backend for Kvm {
    type Vm = host::KvmBareVm;
    type Vcpu = host::KvmBareVcpu;
    type Error = host::KvmError;

    fn create(&self) -> Result<Self::Vm, Self::Error> {
        host::KvmBareVm::new(host::CONFIG)
    }
}
