//! What is equal for all bare machines of this process.

use std::sync::OnceLock;

use hv_kvm::{Capability, retry_interrupted};
use kvm_bindings::{KVM_ARM_VCPU_PSCI_0_2, KVM_CAP_READONLY_MEM, kvm_vcpu_init};
use kvm_ioctls::{Kvm, VmFd};

use super::smccc;
use crate::{
    KvmError, Register, RegisterGroup,
    kvm::{entry::VcpuEntry, host, machine::set_feature, request::failed_request},
};

/// Capabilities that a bare machine asks for.
const CAPABILITIES: [Capability; 6] = [
    Capability::required(
        KVM_CAP_READONLY_MEM,
        "KVM_CAP_READONLY_MEM",
        "code and messages of the host are read-only for the guest",
    ),
    host::ONE_REG,
    host::PSCI,
    host::VCPU_EVENTS,
    host::NISV_TO_USER,
    host::IPA_SIZE,
];

/// What is equal for all bare machines of this process.
#[derive(Debug)]
pub(super) struct Process {
    kvm: &'static Kvm,
    target: kvm_vcpu_init,
    /// KVM can forward calls.
    pub(super) has_filter: bool,
    /// Page size of the host in bytes.
    pub(super) page_size: u64,
    /// Number of bits of guest physical addresses.
    pub(super) address_bits: u32,
    /// Bitmaps of the optional calls that KVM handles.
    call_bitmaps: Vec<Register>,
}

impl Process {
    /// The value. The first call creates a machine to read it.
    pub(super) fn get() -> Result<&'static Self, KvmError> {
        static PROCESS: OnceLock<Process> = OnceLock::new();
        if let Some(process) = PROCESS.get() {
            return Ok(process);
        }
        // Of several threads, one wins.
        let read = Self::read()?;
        Ok(PROCESS.get_or_init(|| read))
    }

    fn read() -> Result<Self, KvmError> {
        let kvm = hv_kvm::shared(&CAPABILITIES)?;
        let mut process = Self {
            kvm,
            target: kvm_vcpu_init::default(),
            has_filter: false,
            page_size: host::page_size(),
            address_bits: host::address_bits(kvm),
            call_bitmaps: Vec::new(),
        };
        let vm = process.create_vm()?;
        vm.get_preferred_target(&mut process.target)
            .map_err(failed_request("KVM_ARM_PREFERRED_TARGET"))?;
        set_feature(&mut process.target, KVM_ARM_VCPU_PSCI_0_2);
        process.has_filter = smccc::is_supported(&vm);
        let vcpu = process.create_vcpu(&vm, true)?;
        let is_bitmap = |register: &Register| register.group() == RegisterGroup::FIRMWARE_FEATURES;
        process.call_bitmaps = vcpu.registers()?.into_iter().filter(is_bitmap).collect();
        Ok(process)
    }

    /// Creates a machine.
    pub(super) fn create_vm(&self) -> Result<VmFd, KvmError> {
        host::create_vm(self.kvm)
    }

    /// Creates the vCPU of a machine.
    pub(super) fn create_vcpu(&self, vm: &VmFd, entropy: bool) -> Result<VcpuEntry, KvmError> {
        let fd = retry_interrupted(|| vm.create_vcpu(0)).map_err(failed_request("KVM_CREATE_VCPU"))?;
        let vcpu = VcpuEntry::new(fd)?;
        self.initialise(&vcpu)?;
        for &register in &self.call_bitmaps {
            if !(entropy && register == Register::STANDARD_CALLS) {
                vcpu.write_number(register, 0)?;
            }
        }
        Ok(vcpu)
    }

    /// Initialises or re-initialises a vCPU.
    pub(super) fn initialise(&self, vcpu: &VcpuEntry) -> Result<(), KvmError> {
        vcpu.fd()
            .vcpu_init(&self.target)
            .map_err(failed_request("KVM_ARM_VCPU_INIT"))
    }
}
