//! The virtual CPU.

mod exits;
mod registers;

use std::sync::Arc;

use boot_core::{Arch, CpuState, Endian, cpu::aarch64::State};
use hv_core::{Exit, Interrupter, Vcpu};
use hv_kvm::{Entry, HarnessError, VcpuFile};
use kvm_bindings::{
    KVM_ARM_VCPU_PMU_V3_CTRL, KVM_ARM_VCPU_PMU_V3_INIT, KVM_ARM_VCPU_PMU_V3_IRQ, KVM_ARM_VCPU_POWER_OFF,
    KVM_ARM_VCPU_SVE, KVM_EXIT_ARM_NISV,
};

use super::{
    attribute, refused,
    vm::{Machine, set_feature},
};
use crate::{GicState, KvmError, RegId, RegValue, VcpuState, gic::PMU_INTID, reg::SCTLR_EE};

/// A vCPU of a [`KvmVm`](super::KvmVm).
///
/// A secondary vCPU is off and waits for PSCI's `CPU_ON` from the guest; running it blocks until then. It runs when all
/// vCPUs of the machine were created.
#[derive(Debug)]
pub struct KvmVcpu {
    file: VcpuFile,
    machine: Arc<Machine>,
    index: u32,
    /// The performance monitors, where there are any, are set up.
    pmu_ready: bool,
    /// The state after creation, without the interrupt controller's part, which comes later and is kept there.
    fresh: Box<VcpuState>,
}

impl KvmVcpu {
    pub(super) fn create(machine: Arc<Machine>, index: u32) -> Result<Self, KvmError> {
        // KVM derives a vCPU's affinity from its number.
        let fd = machine
            .file
            .fd()
            .create_vcpu(index.into())
            .map_err(refused("KVM_CREATE_VCPU"))?;
        let mut vcpu = Self {
            file: VcpuFile::new(fd)?,
            machine,
            index,
            pmu_ready: false,
            fresh: Box::default(),
        };
        vcpu.initialise()?;
        if vcpu.machine.features.sve {
            // Until then most requests are refused, and the vector lengths could be changed.
            vcpu.file
                .fd()
                .vcpu_finalize(&i32::try_from(KVM_ARM_VCPU_SVE).unwrap_or_default())
                .map_err(refused("KVM_ARM_VCPU_FINALIZE"))?;
        }
        vcpu.fresh = Box::new(vcpu.read_all(GicState::default())?);
        Ok(vcpu)
    }

    /// Makes the vCPU, or makes it anew: always with the same features, which KVM insists on.
    fn initialise(&self) -> Result<(), KvmError> {
        let mut init = self.machine.target();
        if self.index > 0 {
            set_feature(&mut init, KVM_ARM_VCPU_POWER_OFF);
        }
        self.file
            .fd()
            .vcpu_init(&init)
            .map_err(refused("KVM_ARM_VCPU_INIT"))
    }

    /// Does what is possible only when the interrupt controller is there, and needed before the first run.
    fn prepare(&mut self) -> Result<(), KvmError> {
        self.machine.gic()?;
        if self.machine.features.pmu && !self.pmu_ready {
            let (group, irq) = (KVM_ARM_VCPU_PMU_V3_CTRL, KVM_ARM_VCPU_PMU_V3_IRQ);
            let intid = i32::try_from(PMU_INTID).unwrap_or_default();
            attribute::set(self.file.fd(), group, irq.into(), intid)
                .map_err(refused("KVM_SET_DEVICE_ATTR (KVM_ARM_VCPU_PMU_V3_IRQ)"))?;
            attribute::request(self.file.fd(), group, KVM_ARM_VCPU_PMU_V3_INIT)
                .map_err(refused("KVM_SET_DEVICE_ATTR (KVM_ARM_VCPU_PMU_V3_INIT)"))?;
            self.pmu_ready = true;
        }
        Ok(())
    }

    fn read_number(&self, register: RegId) -> Result<u64, KvmError> {
        self.read(register)?
            .to_u64()
            .ok_or(KvmError::RegisterSize { register })
    }

    fn write_number(&self, register: RegId, value: u64) -> Result<(), KvmError> {
        let value = RegValue::number(register, value.into()).ok_or(KvmError::RegisterSize { register })?;
        self.write(register, &value)
    }
}

/// `X0` to `X30`, in order.
fn general() -> impl Iterator<Item = RegId> {
    (0..=30).filter_map(RegId::x)
}

impl Vcpu for KvmVcpu {
    type Error = KvmError;

    fn index(&self) -> u32 {
        self.index
    }

    fn state(&mut self) -> Result<CpuState, KvmError> {
        self.settle()?;
        let mut state = State::new(self.read_number(RegId::PC)?);
        for (x, register) in state.x.iter_mut().zip(general()) {
            *x = self.read_number(register)?;
        }
        state.sp_el1 = self.read_number(RegId::SP_EL1)?;
        state.pstate = self.read_number(RegId::PSTATE)?;
        state.data_endian = if self.read_number(RegId::SCTLR_EL1)? & SCTLR_EE == 0 {
            Endian::Little
        } else {
            Endian::Big
        };
        Ok(state.into())
    }

    fn set_state(&mut self, state: &CpuState) -> Result<(), KvmError> {
        let CpuState::Aarch64(state) = state else {
            let (expected, found) = (Arch::Aarch64, state.arch());
            return Err(HarnessError::WrongArch { expected, found }.into());
        };
        self.settle()?;
        for (&x, register) in state.x.iter().zip(general()) {
            self.write_number(register, x)?;
        }
        self.write_number(RegId::SP_EL1, state.sp_el1)?;
        self.write_number(RegId::PC, state.pc)?;
        self.write_number(RegId::PSTATE, state.pstate)?;
        let sctlr = self.read_number(RegId::SCTLR_EL1)?;
        let sctlr = match state.data_endian {
            Endian::Little => sctlr & !SCTLR_EE,
            Endian::Big => sctlr | SCTLR_EE,
        };
        self.write_number(RegId::SCTLR_EL1, sctlr)
    }

    /// Puts the whole vCPU, its redistributor and its CPU interface back into the state they were created in.
    ///
    /// Registers that only tell the time, and those that say what kind of CPU it is, are left alone: the first go on, the
    /// second belong to the machine and cannot change once it has run. No other vCPU may be running.
    fn reset(&mut self) -> Result<(), KvmError> {
        self.settle()?;
        self.initialise()?;
        let gic = self
            .machine
            .gic()?
            .fresh_vcpu(self.index)
            .cloned()
            .unwrap_or_default();
        let fresh = VcpuState {
            gic,
            ..(*self.fresh).clone()
        };
        self.replace(&fresh, |register| !register.is_identification())
    }

    fn run(&mut self) -> Result<Exit<'_>, KvmError> {
        self.prepare()?;
        let mut patience = exits::Patience::new();
        loop {
            match self.file.run() {
                Ok(Entry::Exit(KVM_EXIT_ARM_NISV)) => {
                    if let Some(fault) = self.undecoded(&mut patience)? {
                        return Ok(Exit::Fault(fault));
                    }
                }
                Ok(Entry::Exit(_)) => return Ok(self.decode()),
                Ok(Entry::Interrupted) => return Ok(Exit::Interrupted),
                Ok(Entry::Fault(fault)) => return Ok(Exit::Fault(fault)),
                // The kernel could not get at guest memory at this moment, and does not say where.
                Err(error) if error.errno() == libc::EFAULT && self.wait(&mut patience)? => {}
                Err(error) => return Err(refused("KVM_RUN")(error)),
            }
        }
    }

    fn interrupter(&self) -> Arc<dyn Interrupter> {
        self.file.interrupter()
    }
}
