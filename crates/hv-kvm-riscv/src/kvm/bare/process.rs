//! What is equal for all bare machines of this process.

use std::sync::OnceLock;

use hv_core::{RegisterImage, StoredFeature};
use hv_kvm::{Capability, VcpuFile, retry_interrupted};
use kvm_bindings::{KVM_CAP_ONE_REG, KVM_CAP_READONLY_MEM};
use kvm_ioctls::{Kvm, VcpuFd, VmFd};

use super::state;
use crate::{
    BareState, IsaExtension, KvmError, Register, RegisterGroup,
    kvm::{one_reg, request::failed_request},
    rewind::RewindLayout,
};

/// Capabilities that a bare machine asks for.
const CAPABILITIES: [Capability; 2] = [
    Capability::required(
        KVM_CAP_ONE_REG,
        "KVM_CAP_ONE_REG",
        "state of vCPUs: registers by their numbers",
    ),
    Capability::required(
        KVM_CAP_READONLY_MEM,
        "KVM_CAP_READONLY_MEM",
        "code and messages of the host are read-only for the guest",
    ),
];

/// What is equal for all bare machines of this process.
#[derive(Debug)]
pub(super) struct Process {
    kvm: &'static Kvm,
    /// ISA extensions that are disabled.
    disabled_isa: Vec<Register>,
    /// The registers of a captured state.
    pub(super) layout: RewindLayout,
    /// The features of the CPU, for stored states.
    pub(super) features: Vec<StoredFeature>,
    /// State of a vCPU after its creation.
    pub(super) reset_state: BareState,
    /// Image of that state.
    pub(super) reset_image: RegisterImage,
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
        let vm = create_vm(kvm)?;
        let fd = create_vcpu_fd(&vm)?;
        let disabled_isa = disable_isa(&fd)?;
        one_reg::write_number(&fd, Register::SBI_DISABLE, u64::MAX)?;
        let file = VcpuFile::new(fd)?;
        let registers: Vec<_> = file.register_ids()?.into_iter().map(Register).collect();
        disable_sbi(file.fd(), &registers)?;
        let number = |register: Register| match registers.binary_search(&register) {
            Ok(_) => one_reg::read_number(file.fd(), register),
            Err(_) => Ok(0),
        };
        let vlenb = number(Register::VLENB)?;
        let vlenb = u32::try_from(vlenb).ok().ok_or(KvmError::NumberTooLarge {
            register: Register::VLENB,
            value: vlenb,
        })?;
        let has_sstc = number(Register::isa(IsaExtension::SSTC))? != 0;
        let layout = RewindLayout::new(&registers, vlenb, has_sstc);
        let features = registers.iter().filter(|register| register.is_feature());
        let features = features
            .map(|&register| {
                Ok(StoredFeature {
                    id: register.0,
                    value: number(register)?,
                })
            })
            .collect::<Result<_, KvmError>>()?;
        let mut reset_image = RegisterImage::default();
        let reset_state = state::capture(&layout, file.fd(), &mut reset_image)?;
        Ok(Self {
            kvm,
            disabled_isa,
            layout,
            features,
            reset_state,
            reset_image,
        })
    }

    /// Creates a machine.
    pub(super) fn create_vm(&self) -> Result<VmFd, KvmError> {
        create_vm(self.kvm)
    }

    /// Creates the vCPU of a machine, with `disabled_extensions` as the value of [`Register::SBI_DISABLE`].
    pub(super) fn create_vcpu(&self, vm: &VmFd, disabled_extensions: u64) -> Result<VcpuFile, KvmError> {
        let fd = create_vcpu_fd(vm)?;
        for &register in &self.disabled_isa {
            one_reg::write_number(&fd, register, 0)?;
        }
        one_reg::write_number(&fd, Register::SBI_DISABLE, disabled_extensions)?;
        Ok(VcpuFile::new(fd)?)
    }
}

fn create_vm(kvm: &Kvm) -> Result<VmFd, KvmError> {
    retry_interrupted(|| kvm.create_vm()).map_err(failed_request("KVM_CREATE_VM"))
}

fn create_vcpu_fd(vm: &VmFd) -> Result<VcpuFd, KvmError> {
    retry_interrupted(|| vm.create_vcpu(0)).map_err(failed_request("KVM_CREATE_VCPU"))
}

/// Disables ISA extensions that have more state and no use without an interrupt controller, where the host can. Returns their registers.
fn disable_isa(fd: &VcpuFd) -> Result<Vec<Register>, KvmError> {
    let mut disabled = Vec::new();
    for register in [IsaExtension::SSAIA].map(Register::isa) {
        match one_reg::write_number(fd, register, 0) {
            Ok(()) => disabled.push(register),
            // The host does not have it, or cannot disable it.
            Err(KvmError::SetRegister { source, .. })
                if matches!(source.raw_os_error(), Some(libc::EINVAL | libc::ENOENT)) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(disabled)
}

/// Checks that all SBI extensions are disabled. One that is not is an error.
fn disable_sbi(fd: &VcpuFd, registers: &[Register]) -> Result<(), KvmError> {
    for &register in registers {
        let is_enable = register.group() == Some(RegisterGroup::SBI_EXTENSION);
        if is_enable && one_reg::read_number(fd, register)? != 0 {
            one_reg::write_number(fd, register, 0)?;
        }
    }
    Ok(())
}
