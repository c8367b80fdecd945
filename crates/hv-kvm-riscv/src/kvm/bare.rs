//! A bare machine on KVM: one vCPU and memory slots.
#![expect(unsafe_code, reason = "lets the kernel free the slots with the machine")]

mod debug;
mod machine;
mod process;
mod registers;
mod state;
mod store;
mod vcpu;

use std::sync::Arc;

use boot_core::Arch;
use guest_ram::RamRegion;
use hv_core::{BareAbilities, BareVm, DirtyPages, Doorbell, IrqError, RewindCode, SlotAttributes, Vm};
use hv_kvm::{RamConstraints, VmFile};

pub use self::vcpu::KvmBareVcpu;
use self::{machine::Machine, process::Process};
use super::machine::address_bits;
use crate::{BareConfig, KvmError, rewind};

/// Page size of riscv64.
const PAGE: u64 = 4096;

/// A machine of one vCPU and memory slots, without interrupt controllers and devices, and without the SBI extensions that KVM can disable.
///
/// It is made to be created often: what does not depend on the machine is read once per process. Clones refer to the same machine.
#[derive(Clone, Debug)]
pub struct KvmBareVm(Arc<Machine>);

impl KvmBareVm {
    /// Creates a machine without memory and vCPU.
    ///
    /// # Errors
    ///
    /// [`KvmError::Doorbell`] for a doorbell that KVM does not forward; [`HarnessError::Open`](hv_kvm::HarnessError::Open) on a host without
    /// KVM, and errors of KVM.
    pub fn new(config: BareConfig) -> Result<Self, KvmError> {
        let disabled_extensions = config.disabled_extensions()?;
        let process = Process::get()?;
        let fd = process.create_vm()?;
        let constraints = RamConstraints::new(PAGE, address_bits(&fd)?, Vec::new());
        // SAFETY: vCPUs are created by `KvmBareVcpu::create` only. Their descriptors and mappings are in the field `file`, which is dropped
        // before the field `machine`; no method gives them away. So they are closed when the last reference to `Machine` is dropped. There
        // are no other descriptors of the machine.
        let file = unsafe { VmFile::new_without_slot_deletion(fd, constraints) }?;
        Ok(Self(Arc::new(Machine {
            file,
            process,
            config,
            disabled_extensions,
        })))
    }
}

impl Vm for KvmBareVm {
    type Error = KvmError;
    type Vcpu = KvmBareVcpu;
    type Ram = RamRegion;

    fn arch(&self) -> Arch {
        Arch::Riscv64
    }

    /// Creates vCPU 0, the only one.
    fn create_vcpu(&self, index: u32) -> Result<KvmBareVcpu, KvmError> {
        KvmBareVcpu::create(Arc::clone(&self.0), index)
    }

    fn map_ram(&self, slot: u32, ram: RamRegion) -> Result<(), KvmError> {
        Ok(self.0.file.map(slot, ram)?)
    }

    fn unmap_ram(&self, slot: u32) -> Result<RamRegion, KvmError> {
        Ok(self.0.file.unmap(slot)?)
    }

    /// Always fails: the machine has no interrupt controller.
    fn set_irq(&self, line: u32, _level: bool) -> Result<(), KvmError> {
        Err(IrqError::new(line, "a bare machine has no interrupt controller").into())
    }
}

impl BareVm for KvmBareVm {
    fn map_slot(&self, slot: u32, ram: RamRegion, attributes: SlotAttributes) -> Result<(), KvmError> {
        Ok(self.0.file.map_slot(slot, ram, attributes)?)
    }

    fn take_dirty_before(&self, slot: u32, end: usize, dirty: &mut DirtyPages) -> Result<(), KvmError> {
        Ok(self.0.file.take_dirty_before(slot, end, dirty)?)
    }

    fn abilities(&self) -> BareAbilities {
        // Every KVM of riscv64 has a dirty log; read-only memory is a required capability.
        BareAbilities::new(Doorbell::Sbi(self.0.config.doorbell), PAGE)
            .with_dirty_log(true)
            .with_read_only(true)
            .with_rewind_code(RewindCode {
                code: &rewind::CODE,
                image_len: self.0.process.layout.image_bytes(),
            })
    }
}
