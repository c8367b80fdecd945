//! Virtual CPUs.

mod exits;
mod registers;
mod retry_budget;

use std::sync::Arc;

use boot_core::{Arch, CpuState, Endian, cpu::aarch64::State};
use hv_core::{Vcpu, VcpuExit, VcpuKicker};
use hv_kvm::{HarnessError, RunStatus, VcpuFile};
use hv_kvm_regs::aarch64;
use kvm_bindings::{
    KVM_ARM_VCPU_PMU_V3_CTRL, KVM_ARM_VCPU_PMU_V3_INIT, KVM_ARM_VCPU_PMU_V3_IRQ, KVM_ARM_VCPU_POWER_OFF,
    KVM_ARM_VCPU_SVE, KVM_EXIT_ARM_NISV,
};

use self::retry_budget::RetryBudget;
use super::{
    attribute,
    machine::{Machine, set_feature},
    request::failed_request,
};
use crate::{GicState, KvmError, Register, RegisterValue, VcpuState, gic::PMU_INTID, register::SCTLR_EE};

/// A vCPU of a [`KvmVm`](super::KvmVm).
///
/// A secondary vCPU is off: its [`run`](Vcpu::run) blocks until the guest starts it with PSCI `CPU_ON`. No vCPU can run
/// before all vCPUs of the machine were created.
#[derive(Debug)]
pub struct KvmVcpu {
    file: VcpuFile,
    machine: Arc<Machine>,
    index: u32,
    /// The performance monitors are initialised.
    pmu_ready: bool,
    /// State after creation, without the interrupt controller: [`GicDevice`](super::gic::GicDevice) holds that part.
    reset_state: Box<VcpuState>,
}

impl KvmVcpu {
    pub(super) fn create(machine: Arc<Machine>, index: u32) -> Result<Self, KvmError> {
        // KVM derives the affinity from the vCPU id.
        let fd = hv_kvm::retry_interrupted(|| machine.file.fd().create_vcpu(index.into()))
            .map_err(failed_request("KVM_CREATE_VCPU"))?;
        let mut vcpu = Self {
            file: VcpuFile::new(fd)?,
            machine,
            index,
            pmu_ready: false,
            reset_state: Box::default(),
        };
        vcpu.initialise()?;
        if vcpu.machine.features.sve {
            // Until this call, most ioctls fail and the vector lengths can be changed.
            vcpu.file
                .fd()
                .vcpu_finalize(&i32::try_from(KVM_ARM_VCPU_SVE).unwrap_or_default())
                .map_err(failed_request("KVM_ARM_VCPU_FINALIZE"))?;
        }
        vcpu.reset_state = Box::new(vcpu.read_all(GicState::default())?);
        Ok(vcpu)
    }

    /// Initialises or re-initialises the vCPU, always with the same features as KVM requires.
    fn initialise(&self) -> Result<(), KvmError> {
        let mut init = self.machine.target();
        if self.index > 0 {
            set_feature(&mut init, KVM_ARM_VCPU_POWER_OFF);
        }
        self.file
            .fd()
            .vcpu_init(&init)
            .map_err(failed_request("KVM_ARM_VCPU_INIT"))
    }

    /// Completes the initialisation that needs the interrupt controller, before the first run.
    fn prepare(&mut self) -> Result<(), KvmError> {
        self.machine.gic()?;
        if self.machine.features.pmu && !self.pmu_ready {
            let (group, irq) = (KVM_ARM_VCPU_PMU_V3_CTRL, KVM_ARM_VCPU_PMU_V3_IRQ);
            let intid = i32::try_from(PMU_INTID).unwrap_or_default();
            attribute::set(self.file.fd(), group, irq.into(), intid)
                .map_err(failed_request("KVM_SET_DEVICE_ATTR (KVM_ARM_VCPU_PMU_V3_IRQ)"))?;
            attribute::request(self.file.fd(), group, KVM_ARM_VCPU_PMU_V3_INIT)
                .map_err(failed_request("KVM_SET_DEVICE_ATTR (KVM_ARM_VCPU_PMU_V3_INIT)"))?;
            self.pmu_ready = true;
        }
        Ok(())
    }

    fn read_number(&self, register: Register) -> Result<u64, KvmError> {
        self.read(register)?
            .to_u64()
            .ok_or(KvmError::RegisterSize { register })
    }

    fn write_number(&self, register: Register, value: u64) -> Result<(), KvmError> {
        let value =
            RegisterValue::from_number(register, value.into()).ok_or(KvmError::RegisterSize { register })?;
        self.write(register, &value)
    }
}

/// `X0` to `X30`, in order.
fn general() -> impl Iterator<Item = Register> {
    (0..=30).filter_map(Register::x)
}

impl Vcpu for KvmVcpu {
    type Error = KvmError;

    fn index(&self) -> u32 {
        self.index
    }

    fn state(&mut self) -> Result<CpuState, KvmError> {
        self.complete_io()?;
        let mut state = State::new(self.read_number(Register::PC)?);
        for (x, register) in state.x.iter_mut().zip(general()) {
            *x = self.read_number(register)?;
        }
        state.sp_el1 = self.read_number(Register::SP_EL1)?;
        state.pstate = self.read_number(Register::PSTATE)?;
        state.data_endian = if self.read_number(Register::SCTLR_EL1)? & SCTLR_EE == 0 {
            Endian::Little
        } else {
            Endian::Big
        };
        Ok(state.into())
    }

    fn set_state(&mut self, state: &CpuState) -> Result<(), KvmError> {
        let CpuState::Aarch64(state) = state else {
            let (expected, found) = (Arch::Aarch64, state.arch());
            return Err(HarnessError::ArchMismatch { expected, found }.into());
        };
        self.complete_io()?;
        for (id, value) in aarch64::registers(state) {
            self.write_number(Register(id), value)?;
        }
        let sctlr = self.read_number(Register::SCTLR_EL1)?;
        self.write_number(Register::SCTLR_EL1, aarch64::sctlr_el1(state, sctlr))
    }

    /// Resets the vCPU, its redistributor and its CPU interface to their state after creation.
    ///
    /// Time counters keep their values, and so do identification registers, which cannot change after the first run. No other
    /// vCPU may be running.
    fn reset(&mut self) -> Result<(), KvmError> {
        self.complete_io()?;
        self.initialise()?;
        let gic = self
            .machine
            .gic()?
            .vcpu_reset_state(self.index)
            .cloned()
            .unwrap_or_default();
        let reset_state = VcpuState {
            gic,
            ..(*self.reset_state).clone()
        };
        self.replace(&reset_state, |register| !register.is_identification())
    }

    fn run(&mut self) -> Result<VcpuExit<'_>, KvmError> {
        self.prepare()?;
        let mut budget = RetryBudget::new();
        loop {
            match self.file.run() {
                Ok(RunStatus::Exit(KVM_EXIT_ARM_NISV)) => {
                    if let Some(fault) = self.handle_no_syndrome(&mut budget)? {
                        return Ok(VcpuExit::Fault(fault));
                    }
                }
                Ok(RunStatus::Exit(_)) => return Ok(self.decode()),
                Ok(RunStatus::Interrupted) => return Ok(VcpuExit::Interrupted),
                Ok(RunStatus::Fault(fault)) => return Ok(VcpuExit::Fault(fault)),
                // The kernel could not access guest memory, at an address that it does not report.
                Err(error) if error.errno() == libc::EFAULT && self.back_off(&mut budget)? => {}
                Err(error) => return Err(failed_request("KVM_RUN")(error)),
            }
        }
    }

    fn kicker(&self) -> Arc<dyn VcpuKicker> {
        self.file.kicker()
    }
}
