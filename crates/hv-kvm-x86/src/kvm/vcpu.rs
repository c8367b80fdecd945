//! Virtual CPUs.

mod exits;
mod registers;

use std::sync::Arc;

use boot_core::cpu::x86_64::{BOOT_MSRS, apic_base};
use boot_core::{Arch, CpuState};
use hv_core::{Vcpu, VcpuExit, VcpuKicker};
use hv_kvm::{HarnessError, RunStatus, VcpuFile, retry_interrupted};
use hv_kvm_regs::x86_64;
use kvm_bindings::kvm_xsave;
use kvm_ioctls::Cap;

use super::{convert, machine::Machine, request::failed_request};
use crate::{KvmError, Msr, VcpuState};

/// A vCPU of a [`KvmVm`](super::KvmVm).
///
/// [`run`](Vcpu::run) of a secondary vCPU blocks until it receives INIT and SIPI from the guest, as on hardware.
#[derive(Debug)]
pub struct KvmVcpu {
    file: VcpuFile,
    machine: Arc<Machine>,
    index: u32,
    /// Size of the XSAVE area beyond the first 4096 bytes, in words; `None` on kernels without `KVM_CAP_XSAVE2`.
    extra_xsave_words: Option<usize>,
    /// Completion of pending I/O caused a further exit, which the next `run` reports.
    unreported: bool,
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
        // Read after a vCPU exists: from then on the state components of guests are fixed.
        let xsave_size = machine.file.fd().check_extension_int(Cap::Xsave2);
        let extra_xsave_words = usize::try_from(xsave_size)
            .ok()
            .filter(|&size| size > 0)
            .map(|size| {
                size.saturating_sub(size_of::<kvm_xsave>())
                    .div_ceil(size_of::<u32>())
            });
        let cpuid = convert::to_cpuid(&machine.cpuid(index))?;
        fd.set_cpuid2(&cpuid).map_err(failed_request("KVM_SET_CPUID2"))?;
        let mut vcpu = Self {
            file: VcpuFile::new(fd)?,
            machine,
            index,
            extra_xsave_words,
            unreported: false,
            reset_state: Box::new(VcpuState::zeroed()),
        };
        vcpu.write_msrs(&BOOT_MSRS.map(|(number, value)| (Msr(number), value)))?;
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
        self.complete_io()?;
        let regs = self
            .file
            .fd()
            .get_regs()
            .map_err(failed_request("KVM_GET_REGS"))?;
        let sregs = self
            .file
            .fd()
            .get_sregs()
            .map_err(failed_request("KVM_GET_SREGS"))?;
        Ok(x86_64::state(&regs, &sregs).into())
    }

    fn set_state(&mut self, state: &CpuState) -> Result<(), KvmError> {
        let CpuState::X86_64(state) = state else {
            let (expected, found) = (Arch::X86_64, state.arch());
            return Err(HarnessError::ArchMismatch { expected, found }.into());
        };
        self.abort_io()?;
        let mut sregs = self
            .file
            .fd()
            .get_sregs()
            .map_err(failed_request("KVM_GET_SREGS"))?;
        // Which vCPU is the bootstrap processor is a property of the machine.
        let bsp = sregs.apic_base & apic_base::BSP;
        x86_64::write_sregs(state, &mut sregs);
        sregs.apic_base = sregs.apic_base & !apic_base::BSP | bsp;
        self.file
            .fd()
            .set_sregs(&sregs)
            .map_err(failed_request("KVM_SET_SREGS"))?;
        self.file
            .fd()
            .set_regs(&x86_64::regs(state))
            .map_err(failed_request("KVM_SET_REGS"))
    }

    fn reset(&mut self) -> Result<(), KvmError> {
        let reset_state = self.reset_state.clone();
        self.restore_state(&reset_state)
    }

    fn run(&mut self) -> Result<VcpuExit<'_>, KvmError> {
        if std::mem::take(&mut self.unreported) {
            return Ok(self.decode());
        }
        Ok(match self.file.run().map_err(failed_request("KVM_RUN"))? {
            RunStatus::Exit(_) => self.decode(),
            RunStatus::Interrupted => VcpuExit::Interrupted,
            RunStatus::Fault(fault) => VcpuExit::Fault(fault),
        })
    }

    fn kicker(&self) -> Arc<dyn VcpuKicker> {
        self.file.kicker()
    }
}
