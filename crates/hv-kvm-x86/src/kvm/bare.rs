//! A bare machine on KVM: one vCPU and memory slots.
#![expect(unsafe_code, reason = "lets the kernel free the slots with the machine")]

mod config;
mod debug;
mod machine;
mod mce;
mod msr_filter;
mod process;
mod registers;
mod state;
mod store;
mod tsc;
mod vcpu;

use std::sync::Arc;

use boot_core::{Arch, GuestRange};
use guest_ram::RamRegion;
use hv_core::{BareAbilities, BareVm, DirtyPages, Doorbell, RewindCode, SlotAttributes, Vm};
use hv_kvm::{RamConstraints, VmFile};

pub use self::{
    config::{BareConfig, MsrAccess},
    state::BareState,
    vcpu::KvmBareVcpu,
};
use self::{machine::Machine, msr_filter::MsrFilter, process::Process};
use super::request::failed_request;
use crate::{KvmError, rewind};

/// Page size of x86_64.
const PAGE: u64 = 4096;

/// A machine of one vCPU and memory slots, without interrupt controllers, timers and devices.
///
/// It is made to be created often: what does not depend on the machine is read once per process. Clones refer to the same machine.
#[derive(Clone, Debug)]
pub struct KvmBareVm(Arc<Machine>);

impl KvmBareVm {
    /// Guest physical addresses that no slot may use: KVM needs them on some Intel hosts.
    pub const RESERVED: GuestRange = process::RESERVED;

    /// Creates a machine without memory and vCPU.
    ///
    /// # Errors
    ///
    /// [`HarnessError::Open`](hv_kvm::HarnessError::Open) on a host without KVM, and errors of KVM.
    pub fn new(config: BareConfig) -> Result<Self, KvmError> {
        let process = Process::get(config)?;
        let fd = process.create_vm()?;
        let constraints = RamConstraints::new(PAGE, u64::BITS, vec![Self::RESERVED]);
        // SAFETY: vCPUs are created by `KvmBareVcpu::create` only. Their descriptors and mappings are in the field `entry`, which is dropped
        // before the field `machine`; no method gives them away. So they are closed when the last reference to `Machine` is dropped. There
        // are no other descriptors of the machine.
        let file = unsafe { VmFile::new_without_slot_deletion(fd, constraints) }?;
        Ok(Self(Arc::new(Machine {
            file,
            process,
            config,
            filter: MsrFilter::new(process.denies_msrs),
        })))
    }
}

impl Vm for KvmBareVm {
    type Error = KvmError;
    type Vcpu = KvmBareVcpu;
    type Ram = RamRegion;

    fn arch(&self) -> Arch {
        Arch::X86_64
    }

    /// Creates vCPU 0, the only one.
    fn create_vcpu(&self, index: u32) -> Result<KvmBareVcpu, KvmError> {
        KvmBareVcpu::create(Arc::clone(&self.0), index)
    }

    fn map_ram(&self, slot: u32, ram: RamRegion) -> Result<(), KvmError> {
        self.0.filter.apply(self.0.file.fd())?;
        Ok(self.0.file.map(slot, ram)?)
    }

    fn unmap_ram(&self, slot: u32) -> Result<RamRegion, KvmError> {
        Ok(self.0.file.unmap(slot)?)
    }

    /// Always fails: the machine has no interrupt controller.
    fn set_irq(&self, line: u32, level: bool) -> Result<(), KvmError> {
        self.0
            .file
            .fd()
            .set_irq_line(line, level)
            .map_err(failed_request("KVM_IRQ_LINE"))
    }
}

impl BareVm for KvmBareVm {
    fn map_slot(&self, slot: u32, ram: RamRegion, attributes: SlotAttributes) -> Result<(), KvmError> {
        self.0.filter.apply(self.0.file.fd())?;
        Ok(self.0.file.map_slot(slot, ram, attributes)?)
    }

    fn take_dirty_before(&self, slot: u32, end: usize, dirty: &mut DirtyPages) -> Result<(), KvmError> {
        Ok(self.0.file.take_dirty_before(slot, end, dirty)?)
    }

    fn abilities(&self) -> BareAbilities {
        // Every KVM of x86_64 has a dirty log; read-only memory is a required capability.
        let abilities = BareAbilities::new(Doorbell::Port(self.0.config.doorbell_port), PAGE)
            .with_dirty_log(true)
            .with_read_only(true)
            .with_cr4(self.0.process.cr4);
        match self.0.config.rewind_code {
            Some(_) => abilities.with_rewind_code(RewindCode {
                code: &rewind::CODE,
                image_len: rewind::IMAGE_LEN,
            }),
            None => abilities,
        }
    }
}
