//! Virtual CPUs.

mod registers;

use std::sync::Arc;

use boot_core::CpuState;
use boot_core::cpu::x86_64::BOOT_MSRS;
use hv_core::{Vcpu, VcpuExit, VcpuKicker};
use hv_kvm::{HarnessError, retry_interrupted};

use super::{convert, entry::VcpuEntry, machine::Machine, msrs, request::failed_request, xsave};
use crate::{KvmError, Msr, VcpuState};

/// A vCPU of a [`KvmVm`](super::KvmVm).
///
/// [`run`](Vcpu::run) of a secondary vCPU blocks until it receives INIT and SIPI from the guest, as on hardware.
#[derive(Debug)]
pub struct KvmVcpu {
    file: VcpuEntry,
    machine: Arc<Machine>,
    index: u32,
    /// Result of [`xsave::extra_words`].
    extra_xsave_words: Option<usize>,
    /// State after creation.
    reset_state: Box<VcpuState>,
}

impl KvmVcpu {
    pub(super) fn create(machine: Arc<Machine>, index: u32) -> Result<Self, KvmError> {
        let count = machine.topology.vcpus();
        if index >= count {
            return Err(HarnessError::NoSuchVcpu { index, count }.into());
        }
        // KVM uses the vCPU id as the initial APIC id.
        let id = machine.topology.apic_id(index).into();
        let fd = retry_interrupted(|| machine.file.fd().create_vcpu(id))
            .map_err(failed_request("KVM_CREATE_VCPU"))?;
        let extra_xsave_words = xsave::extra_words(machine.file.fd())?;
        let cpuid = convert::to_cpuid(&machine.cpuid(index))?;
        fd.set_cpuid2(&cpuid).map_err(failed_request("KVM_SET_CPUID2"))?;
        let mut vcpu = Self {
            file: VcpuEntry::new(fd, machine.file.fd().run_size())?,
            machine,
            index,
            extra_xsave_words,
            reset_state: Box::new(VcpuState::zeroed()),
        };
        let boot_msrs = BOOT_MSRS.map(|(number, value)| (Msr(number), value));
        msrs::write(vcpu.file.fd(), &boot_msrs)?;
        let mut lapic = vcpu.read_lapic()?;
        lapic.configure_lint();
        vcpu.write_lapic(&lapic)?;
        vcpu.reset_state = Box::new(vcpu.save_state()?);
        Ok(vcpu)
    }
}

impl Vcpu for KvmVcpu {
    type Error = KvmError;

    fn index(&self) -> u32 {
        self.index
    }

    fn state(&mut self) -> Result<CpuState, KvmError> {
        Ok(self.file.state()?.into())
    }

    fn set_state(&mut self, state: &CpuState) -> Result<(), KvmError> {
        self.file.set_state(state)
    }

    fn reset(&mut self) -> Result<(), KvmError> {
        let reset_state = self.reset_state.clone();
        self.restore_state(&reset_state)
    }

    fn run(&mut self) -> Result<VcpuExit<'_>, KvmError> {
        self.file.run()
    }

    fn kicker(&self) -> Arc<dyn VcpuKicker> {
        self.file.kicker()
    }
}
