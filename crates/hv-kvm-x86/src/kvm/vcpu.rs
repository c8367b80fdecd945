//! The virtual CPU.
mod exits;
mod registers;

use std::sync::Arc;

use boot_core::CpuState;
use hv_core::{Exit, Interrupter, Vcpu};
use hv_kvm::Kicker;
use kvm_bindings::kvm_xsave;
use kvm_ioctls::{Cap, VcpuFd};

use self::exits::Entry;
use super::{convert, refused, vm::Machine};
use crate::{KvmError, VcpuState, msr};

/// A vCPU of a [`KvmVm`](super::KvmVm).
///
/// A secondary vCPU waits for INIT and SIPI from the guest, as on hardware; running it blocks until then.
#[derive(Debug)]
pub struct KvmVcpu {
    // Dropped in this order: the vCPU's file, which keeps the kernel's machine alive, before the RAM in `machine`.
    fd: VcpuFd,
    machine: Arc<Machine>,
    index: u32,
    kicker: Arc<Kicker>,
    /// Size of the XSAVE area, in words beyond the first 4096 bytes; `None` on kernels that know no larger one.
    extra_xsave_words: Option<usize>,
    /// The kernel still has to finish the access of the last exit.
    pending: bool,
    /// The kernel reported an exit while it finished an access: the next `run` starts with it.
    unreported: bool,
    /// The state after creation.
    fresh: Box<VcpuState>,
}
impl KvmVcpu {
    pub(super) fn create(machine: Arc<Machine>, index: u32) -> Result<Self, KvmError> {
        let count = machine.topology.vcpus();
        if index >= count {
            return Err(KvmError::NoSuchVcpu { index, count });
        }
        let kicker = Kicker::new().map_err(|source| KvmError::Request {
            request: "sigaction",
            source,
        })?;
        // KVM uses a vCPU's number as its initial APIC id.
        let fd = machine
            .fd
            .create_vcpu(machine.topology.apic_id(index).into())
            .map_err(refused("KVM_CREATE_VCPU"))?;
        // Asked for after a vCPU exists, when the state components of guests cannot change any more.
        let xsave_size = machine.fd.check_extension_int(Cap::Xsave2);
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
            fd,
            machine,
            index,
            kicker: Arc::new(kicker),
            extra_xsave_words,
            pending: false,
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
        let regs = self.fd.get_regs().map_err(refused("KVM_GET_REGS"))?;
        let sregs = self.fd.get_sregs().map_err(refused("KVM_GET_SREGS"))?;
        Ok(convert::from_kvm(&regs, &sregs).into())
    }

    fn set_state(&mut self, state: &CpuState) -> Result<(), KvmError> {
        let CpuState::X86_64(state) = state else {
            return Err(KvmError::WrongArch { found: state.arch() });
        };
        self.discard()?;
        let mut sregs = self.fd.get_sregs().map_err(refused("KVM_GET_SREGS"))?;
        convert::to_sregs(state, &mut sregs);
        self.fd.set_sregs(&sregs).map_err(refused("KVM_SET_SREGS"))?;
        self.fd
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
        let kicker = Arc::clone(&self.kicker);
        let Some(entry) = kicker.run(|| self.enter()) else {
            return Ok(Exit::Interrupted);
        };
        Ok(match entry? {
            Entry::Exit => self.decode(),
            Entry::Interrupted => {
                self.kicker.answered();
                Exit::Interrupted
            }
            Entry::MemoryFault(fault) => Exit::Fault(fault),
        })
    }

    fn interrupter(&self) -> Arc<dyn Interrupter> {
        Arc::clone(&self.kicker) as Arc<dyn Interrupter>
    }
}
