//! Virtual CPUs.

mod registers;

use std::sync::Arc;

use boot_core::CpuState;
use hv_core::{Vcpu, VcpuExit, VcpuKicker};
use kvm_bindings::{
    KVM_ARM_VCPU_PMU_V3_CTRL, KVM_ARM_VCPU_PMU_V3_INIT, KVM_ARM_VCPU_PMU_V3_IRQ, KVM_ARM_VCPU_POWER_OFF,
    KVM_ARM_VCPU_SVE,
};

use super::{
    attribute,
    entry::VcpuEntry,
    machine::{Machine, set_feature},
    request::failed_request,
};
use crate::{KvmError, gic::PMU_INTID};

/// A vCPU of a [`KvmVm`](super::KvmVm).
///
/// A secondary vCPU is off: its [`run`](Vcpu::run) blocks until the guest starts it with PSCI `CPU_ON`. No vCPU can run
/// before all vCPUs of the machine were created.
#[derive(Debug)]
pub struct KvmVcpu {
    entry: VcpuEntry,
    machine: Arc<Machine>,
    index: u32,
    /// The performance monitors are initialised.
    pmu_ready: bool,
}

impl KvmVcpu {
    pub(super) fn create(machine: Arc<Machine>, index: u32) -> Result<Self, KvmError> {
        // KVM derives the affinity from the vCPU id.
        let fd = hv_kvm::retry_interrupted(|| machine.file.fd().create_vcpu(index.into()))
            .map_err(failed_request("KVM_CREATE_VCPU"))?;
        let vcpu = Self {
            entry: VcpuEntry::new(fd)?,
            machine,
            index,
            pmu_ready: false,
        };
        vcpu.initialise()?;
        if vcpu.machine.layout.features.sve {
            // Until this call, most ioctls fail and the vector lengths can be changed.
            vcpu.entry
                .fd()
                .vcpu_finalize(&i32::try_from(KVM_ARM_VCPU_SVE).unwrap_or_default())
                .map_err(failed_request("KVM_ARM_VCPU_FINALIZE"))?;
        }
        Ok(vcpu)
    }

    /// Initialises or re-initialises the vCPU, always with the same features as KVM requires.
    fn initialise(&self) -> Result<(), KvmError> {
        let mut init = self.machine.target();
        if self.index > 0 {
            set_feature(&mut init, KVM_ARM_VCPU_POWER_OFF);
        }
        self.entry
            .fd()
            .vcpu_init(&init)
            .map_err(failed_request("KVM_ARM_VCPU_INIT"))
    }

    /// Completes the initialisation that needs the interrupt controller, before the first run.
    fn prepare(&mut self) -> Result<(), KvmError> {
        self.machine.gic()?;
        if self.machine.layout.features.pmu && !self.pmu_ready {
            let (group, irq) = (KVM_ARM_VCPU_PMU_V3_CTRL, KVM_ARM_VCPU_PMU_V3_IRQ);
            let intid = i32::try_from(PMU_INTID).unwrap_or_default();
            attribute::set(self.entry.fd(), group, irq.into(), intid)
                .map_err(failed_request("KVM_SET_DEVICE_ATTR (KVM_ARM_VCPU_PMU_V3_IRQ)"))?;
            attribute::request(self.entry.fd(), group, KVM_ARM_VCPU_PMU_V3_INIT)
                .map_err(failed_request("KVM_SET_DEVICE_ATTR (KVM_ARM_VCPU_PMU_V3_INIT)"))?;
            self.pmu_ready = true;
        }
        Ok(())
    }
}

impl Vcpu for KvmVcpu {
    type Error = KvmError;

    fn index(&self) -> u32 {
        self.index
    }

    fn state(&mut self) -> Result<CpuState, KvmError> {
        Ok(self.entry.state()?.into())
    }

    fn set_state(&mut self, state: &CpuState) -> Result<(), KvmError> {
        self.entry.set_state(state)
    }

    /// Resets the vCPU, its redistributor and its CPU interface to their state after creation.
    ///
    /// Time counters keep their values, and so do identification registers, which cannot change after the first run. No other
    /// vCPU may be running. The first reset reads the state after creation from a temporary machine, as
    /// [`KvmVm::prepare_reset`](super::KvmVm::prepare_reset).
    fn reset(&mut self) -> Result<(), KvmError> {
        self.entry.complete_io()?;
        let machine = Arc::clone(&self.machine);
        machine.gic()?;
        let reset_state = machine.vcpu_reset_state(self.index)?;
        self.initialise()?;
        self.replace(reset_state)
    }

    fn run(&mut self) -> Result<VcpuExit<'_>, KvmError> {
        self.prepare()?;
        let status = self.entry.enter(&self.machine.file)?;
        Ok(self.entry.decode(status))
    }

    fn kicker(&self) -> Arc<dyn VcpuKicker> {
        self.entry.kicker()
    }
}
