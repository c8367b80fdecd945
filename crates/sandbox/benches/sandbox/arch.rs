//! The floor's guest on each architecture: it rings the doorbell in a loop.

#[cfg(target_arch = "aarch64")]
pub(crate) use aarch64::*;
#[cfg(target_arch = "riscv64")]
pub(crate) use riscv64::*;
#[cfg(target_arch = "x86_64")]
pub(crate) use x86_64::*;

#[cfg(target_arch = "x86_64")]
mod x86_64 {
    use kvm_bindings::{CpuId, KVM_MAX_CPUID_ENTRIES, kvm_regs};
    use kvm_ioctls::{Kvm, VcpuExit, VcpuFd, VmFd};

    pub(crate) const BASE: u64 = 0;
    /// `1: out 0x6c, eax; jmp 1b`, in real mode: `EAX` by a prefix.
    pub(crate) const CODE: &[u8] = &[0x66, 0xe7, 0x6c, 0xeb, 0xfb];

    pub(crate) struct Process(CpuId);

    impl Process {
        pub(crate) fn new(kvm: &Kvm) -> Self {
            Self(
                kvm.get_supported_cpuid(KVM_MAX_CPUID_ENTRIES)
                    .expect("KVM_GET_SUPPORTED_CPUID"),
            )
        }

        pub(crate) fn prepare(&self, _vm: &VmFd, vcpu: &VcpuFd) {
            vcpu.set_cpuid2(&self.0).expect("KVM_SET_CPUID2");
            let mut system = vcpu.get_sregs().expect("KVM_GET_SREGS");
            (system.cs.base, system.cs.selector) = (0, 0);
            vcpu.set_sregs(&system).expect("KVM_SET_SREGS");
            let general = kvm_regs {
                rflags: 2,
                ..kvm_regs::default()
            };
            vcpu.set_regs(&general).expect("KVM_SET_REGS");
        }
    }

    pub(crate) fn is_doorbell(exit: &VcpuExit<'_>) -> bool {
        matches!(exit, VcpuExit::IoOut(0x6c, data) if data.len() == 4)
    }
}

#[cfg(target_arch = "aarch64")]
mod aarch64 {
    use kvm_bindings::{
        KVM_ARM_VM_SMCCC_CTRL, KVM_ARM_VM_SMCCC_FILTER, kvm_device_attr, kvm_smccc_filter,
        kvm_smccc_filter_action_KVM_SMCCC_FILTER_FWD_TO_USER, kvm_vcpu_init,
    };
    use kvm_ioctls::{Kvm, VcpuExit, VcpuFd, VmFd};

    pub(crate) const BASE: u64 = 0x4000_0000;
    /// `1: hvc #0; b 1b`
    pub(crate) const CODE: &[u8] = &[0x02, 0x00, 0x00, 0xd4, 0xff, 0xff, 0xff, 0x17];
    /// Register ids of `X0` and `PC` (KVM API, 4.68).
    const X0: u64 = 0x6030_0000_0010_0000;
    const PC: u64 = 0x6030_0000_0010_0040;

    pub(crate) struct Process;

    impl Process {
        pub(crate) fn new(_kvm: &Kvm) -> Self {
            Self
        }

        pub(crate) fn prepare(&self, vm: &VmFd, vcpu: &VcpuFd) {
            let mut init = kvm_vcpu_init::default();
            vm.get_preferred_target(&mut init)
                .expect("KVM_ARM_PREFERRED_TARGET");
            vcpu.vcpu_init(&init).expect("KVM_ARM_VCPU_INIT");
            let filter = kvm_smccc_filter {
                base: sandbox_abi::HVC_DOORBELL,
                nr_functions: 1,
                action: kvm_smccc_filter_action_KVM_SMCCC_FILTER_FWD_TO_USER
                    .try_into()
                    .expect("8 bits"),
                ..kvm_smccc_filter::default()
            };
            let attribute = kvm_device_attr {
                group: KVM_ARM_VM_SMCCC_CTRL,
                attr: KVM_ARM_VM_SMCCC_FILTER.into(),
                addr: (&raw const filter)
                    .expose_provenance()
                    .try_into()
                    .expect("64 bits"),
                flags: 0,
            };
            vm.set_device_attr(&attribute).expect("KVM_ARM_VM_SMCCC_FILTER");
            let set = |id, value: u64| {
                vcpu.set_one_reg(id, &value.to_le_bytes())
                    .expect("KVM_SET_ONE_REG")
            };
            set(X0, sandbox_abi::HVC_DOORBELL.into());
            set(PC, BASE);
        }
    }

    pub(crate) fn is_doorbell(exit: &VcpuExit<'_>) -> bool {
        matches!(exit, VcpuExit::Hypercall(_))
    }
}

#[cfg(target_arch = "riscv64")]
mod riscv64 {
    use kvm_bindings::KVM_EXIT_RISCV_SBI;
    use kvm_ioctls::{Kvm, VcpuExit, VcpuFd, VmFd};

    pub(crate) const BASE: u64 = 0x8000_0000;
    /// `1: ecall; j 1b`
    pub(crate) const CODE: &[u8] = &[0x73, 0x00, 0x00, 0x00, 0x6f, 0xf0, 0xdf, 0xff];
    /// Register ids of `pc` and `a7` (KVM API, 4.68).
    const PC: u64 = 0x8030_0000_0200_0000;
    const A7: u64 = PC + 17;

    pub(crate) struct Process;

    impl Process {
        pub(crate) fn new(_kvm: &Kvm) -> Self {
            Self
        }

        pub(crate) fn prepare(&self, _vm: &VmFd, vcpu: &VcpuFd) {
            let set = |id, value: u64| {
                vcpu.set_one_reg(id, &value.to_le_bytes())
                    .expect("KVM_SET_ONE_REG")
            };
            set(A7, sandbox_abi::SBI_DOORBELL);
            set(PC, BASE);
        }
    }

    pub(crate) fn is_doorbell(exit: &VcpuExit<'_>) -> bool {
        matches!(exit, VcpuExit::Unsupported(KVM_EXIT_RISCV_SBI))
    }
}
