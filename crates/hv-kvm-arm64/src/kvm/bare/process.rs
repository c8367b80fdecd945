//! What is equal for all bare machines of this process.

use std::sync::OnceLock;

use hv_core::RegisterImage;
use hv_kvm::{Capability, retry_interrupted};
use kvm_bindings::{KVM_ARM_VCPU_PSCI_0_2, KVM_CAP_READONLY_MEM, kvm_vcpu_init};
use kvm_ioctls::{Kvm, VmFd};

use super::{
    smccc,
    state::{BareState, RegisterSet},
};
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
    pub(super) registers: RegisterSet,
    /// State of a vCPU after its creation.
    reset_state: BareState,
    reset_image: RegisterImage,
    /// `SCTLR_EL1` while rewind code runs: the value after creation, with the instruction cache.
    pub(super) rewind_sctlr: u64,
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
        /// `SCTLR_EL1.I`.
        const INSTRUCTION_CACHE: u64 = 1 << 12;
        let kvm = hv_kvm::shared(&CAPABILITIES)?;
        let vm = host::create_vm(kvm)?;
        let mut target = kvm_vcpu_init::default();
        vm.get_preferred_target(&mut target)
            .map_err(failed_request("KVM_ARM_PREFERRED_TARGET"))?;
        set_feature(&mut target, KVM_ARM_VCPU_PSCI_0_2);
        let vcpu = create_vcpu(&vm, &target)?;
        let is_bitmap = |register: &Register| register.group() == RegisterGroup::FIRMWARE_FEATURES;
        let registers = RegisterSet::of(&vcpu)?;
        let mut reset_image = RegisterImage::default();
        let reset_state = registers.capture(&vcpu, &mut reset_image)?;
        Ok(Self {
            kvm,
            target,
            has_filter: smccc::is_supported(&vm)?,
            page_size: host::page_size(),
            address_bits: host::address_bits(kvm)?,
            call_bitmaps: vcpu.registers()?.into_iter().filter(is_bitmap).collect(),
            registers,
            reset_state,
            reset_image,
            rewind_sctlr: vcpu.read_number(Register::SCTLR_EL1)? | INSTRUCTION_CACHE,
        })
    }

    /// Creates a machine.
    pub(super) fn create_vm(&self) -> Result<VmFd, KvmError> {
        host::create_vm(self.kvm)
    }

    /// Creates the vCPU of a machine.
    pub(super) fn create_vcpu(&self, vm: &VmFd, entropy: bool) -> Result<VcpuEntry, KvmError> {
        let vcpu = create_vcpu(vm, &self.target)?;
        for &register in &self.call_bitmaps {
            if !(entropy && register == Register::STANDARD_CALLS) {
                vcpu.write_number(register, 0)?;
            }
        }
        Ok(vcpu)
    }

    /// Resets all registers of a vCPU to their values after its creation.
    pub(super) fn reset(&self, vcpu: &VcpuEntry) -> Result<(), KvmError> {
        initialise(vcpu, &self.target)?;
        // KVM leaves some registers as they are, `SP_EL1` among them.
        self.registers.replace(vcpu, &self.reset_state, &self.reset_image)
    }
}

fn create_vcpu(vm: &VmFd, target: &kvm_vcpu_init) -> Result<VcpuEntry, KvmError> {
    let fd = retry_interrupted(|| vm.create_vcpu(0)).map_err(failed_request("KVM_CREATE_VCPU"))?;
    let vcpu = VcpuEntry::new(fd)?;
    initialise(&vcpu, target)?;
    Ok(vcpu)
}

fn initialise(vcpu: &VcpuEntry, target: &kvm_vcpu_init) -> Result<(), KvmError> {
    vcpu.fd()
        .vcpu_init(target)
        .map_err(failed_request("KVM_ARM_VCPU_INIT"))
}
