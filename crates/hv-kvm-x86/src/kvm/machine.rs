//! State of a virtual machine that its handle and all its vCPUs share.

use hv_kvm::VmFile;
use kvm_bindings::{kvm_irqchip, kvm_pit_state2};
use kvm_ioctls::VmFd;

use super::request::failed_request;
use crate::{
    KvmError, Msr, Topology,
    cpuid::{self, CpuidEntry},
};

/// State that the handle of the machine and all its vCPUs share. The RAM of the guest stays mapped while one of them exists.
#[derive(Debug)]
pub(super) struct Machine {
    pub(super) file: VmFile,
    pub(super) topology: Topology,
    pub(super) supported: Vec<CpuidEntry>,
    pub(super) tsc_deadline: bool,
    /// MSRs that can be part of a vCPU's state, in ascending order. A vCPU has a subset that depends on its CPUID table.
    pub(super) msrs: Vec<Msr>,
    pub(super) irqchip_reset_state: IrqchipState,
}

/// The state of the interrupt controllers and the timer.
#[derive(Clone)]
pub(super) struct IrqchipState {
    irqchips: [kvm_irqchip; 3],
    pit: kvm_pit_state2,
}

impl std::fmt::Debug for IrqchipState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("IrqchipState")
            .field("pit", &self.pit)
            .finish_non_exhaustive()
    }
}

impl IrqchipState {
    pub(super) fn read(fd: &VmFd) -> Result<Self, KvmError> {
        let mut irqchips = [kvm_irqchip::default(); 3];
        for (chip_id, chip) in (0..).zip(&mut irqchips) {
            chip.chip_id = chip_id;
            fd.get_irqchip(chip).map_err(failed_request("KVM_GET_IRQCHIP"))?;
        }
        let pit = fd.get_pit2().map_err(failed_request("KVM_GET_PIT2"))?;
        Ok(Self { irqchips, pit })
    }

    pub(super) fn write(&self, fd: &VmFd) -> Result<(), KvmError> {
        for chip in &self.irqchips {
            fd.set_irqchip(chip).map_err(failed_request("KVM_SET_IRQCHIP"))?;
        }
        fd.set_pit2(&self.pit).map_err(failed_request("KVM_SET_PIT2"))
    }
}

impl Machine {
    /// The CPUID table of vCPU `index`.
    pub(super) fn cpuid(&self, index: u32) -> Vec<CpuidEntry> {
        cpuid::for_vcpu(&self.supported, self.topology, index, self.tsc_deadline)
    }
}
