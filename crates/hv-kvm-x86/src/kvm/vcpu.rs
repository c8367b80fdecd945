//! The virtual CPU.
mod exits;
mod registers;

use std::sync::Arc;

use boot_core::{Arch, CpuState};
use hv_core::{Exit, Interrupter, Vcpu};
use hv_kvm::{Entry, HarnessError, VcpuFile};
use kvm_bindings::kvm_xsave;
use kvm_ioctls::Cap;

use super::{convert, refused, vm::Machine};
use crate::{KvmError, VcpuState, msr};

/// A vCPU of a [`KvmVm`](super::KvmVm).
///
/// A secondary vCPU waits for INIT and SIPI from the guest, as on hardware; running it blocks until then.
#[derive(Debug)]
pub struct KvmVcpu {
    file: VcpuFile,
    machine: Arc<Machine>,
    index: u32,
    /// Size of the XSAVE area, in words beyond the first 4096 bytes; `None` on kernels that know no larger one.
    extra_xsave_words: Option<usize>,
    /// The kernel reported an exit while it finished an access: the next `run` starts with it.
    unreported: bool,
    /// The state after creation.
    fresh: Box<VcpuState>,
}
impl KvmVcpu {
    pub(super) fn create(machine: Arc<Machine>, index: u32) -> Result<Self, KvmError> {
        let count = machine.topology.vcpus();
        if index >= count {
            return Err(HarnessError::NoSuchVcpu { index, count }.into());
        }
        // KVM uses a vCPU's number as its initial APIC id.
        let fd = machine
            .file
            .fd()
            .create_vcpu(machine.topology.apic_id(index).into())
            .map_err(refused("KVM_CREATE_VCPU"))?;
        // Asked for after a vCPU exists, when the state components of guests cannot change any more.
        let xsave_size = machine.file.fd().check_extension_int(Cap::Xsave2);
        let extra_xsave_words = usize::try_from(xsave_size)
            .ok()
            .filter(|&size| size > 0)
            .map(|size| {
                size.saturating_sub(size_of::<kvm_xsave>())
                    .div_ceil(size_of::<u32>())
            });
        let cpuid = convert::to_cpuid(&machine.cpuid(index))?;
        fd.set_cpuid2(&cpuid).map_err(refused("KVM_SET_CPUID2"))?;
        let mut vcpu = Self {
            file: VcpuFile::new(fd)?,
            machine,
            index,
            extra_xsave_words,
            unreported: false,
            fresh: Box::new(VcpuState::blank()),
        };
        vcpu.write_msrs(&msr::BOOT)?;
        let mut lapic = vcpu.read_lapic()?;
        lapic.connect_pins();
        vcpu.write_lapic(&lapic)?;
        vcpu.fresh = Box::new(vcpu.whole_state()?);
        Ok(vcpu)
    }
}

impl Vcpu for KvmVcpu {
    type Error = KvmError;

    fn index(&self) -> u32 {
        self.index
    }

    fn state(&mut self) -> Result<CpuState, KvmError> {
        self.settle()?;
        let regs = self.file.fd().get_regs().map_err(refused("KVM_GET_REGS"))?;
        let sregs = self.file.fd().get_sregs().map_err(refused("KVM_GET_SREGS"))?;
        Ok(convert::from_kvm(&regs, &sregs).into())
    }

    fn set_state(&mut self, state: &CpuState) -> Result<(), KvmError> {
        let CpuState::X86_64(state) = state else {
            let (expected, found) = (Arch::X86_64, state.arch());
            return Err(HarnessError::WrongArch { expected, found }.into());
        };
        self.discard()?;
        let mut sregs = self.file.fd().get_sregs().map_err(refused("KVM_GET_SREGS"))?;
        convert::to_sregs(state, &mut sregs);
        self.file
            .fd()
            .set_sregs(&sregs)
            .map_err(refused("KVM_SET_SREGS"))?;
        self.file
            .fd()
            .set_regs(&convert::to_regs(state))
            .map_err(refused("KVM_SET_REGS"))
    }

    fn reset(&mut self) -> Result<(), KvmError> {
        let fresh = self.fresh.clone();
        self.set_whole_state(&fresh)
    }

    fn run(&mut self) -> Result<Exit<'_>, KvmError> {
        if std::mem::take(&mut self.unreported) {
            return Ok(self.decode());
        }
        Ok(match self.file.run().map_err(refused("KVM_RUN"))? {
            Entry::Exit(_) => self.decode(),
            Entry::Interrupted => Exit::Interrupted,
            Entry::Fault(fault) => Exit::Fault(fault),
        })
    }

    fn interrupter(&self) -> Arc<dyn Interrupter> {
        self.file.interrupter()
    }
}
