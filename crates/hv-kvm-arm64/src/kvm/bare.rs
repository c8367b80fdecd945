//! A bare machine on KVM: one vCPU and memory slots.
#![expect(unsafe_code, reason = "lets the kernel free the slots with the machine")]

mod debug;
mod debug_request;
mod machine;
mod memory;
mod process;
mod registers;
mod smccc;
mod state;
mod store;
mod vcpu;

use std::sync::Arc;

use boot_core::{Arch, GuestRange};
use guest_ram::RamRegion;
use hv_core::{BareAbilities, BareVm, DirtyPages, Doorbell, RewindCode, SlotAttributes, Vm};
use hv_kvm::{RamConstraints, VmFile};

use self::{machine::Machine, process::Process};
pub use self::{state::BareState, vcpu::KvmBareVcpu};
use super::request::failed_request;
use crate::{BareConfig, KvmError, gic, rewind};

/// A machine of one vCPU and memory slots, without interrupt controllers and devices.
///
/// The guest has timers, whose interrupts do not arrive, and PSCI. `CPU_OFF` is [`SystemEvent::PowerOff`](hv_core::SystemEvent::PowerOff),
/// where the doorbell is a call; elsewhere it blocks [`run`](hv_core::Vcpu::run) until a kick, as `WFI` and `CPU_SUSPEND` do everywhere. Other
/// calls get `NOT_SUPPORTED`.
///
/// It is made to be created often: what does not depend on the machine is read once per process. Clones refer to the same machine.
#[derive(Clone, Debug)]
pub struct KvmBareVm(Arc<Machine>);

impl KvmBareVm {
    /// Creates a machine without memory and vCPU.
    ///
    /// # Errors
    ///
    /// [`HarnessError::Open`](hv_kvm::HarnessError::Open) on a host without KVM, and errors of KVM, among them a number of the doorbell that it
    /// does not forward.
    pub fn new(config: BareConfig) -> Result<Self, KvmError> {
        let process = Process::get()?;
        let fd = process.create_vm()?;
        let doorbell = if config.hvc && process.has_filter {
            smccc::forward(&fd, config.doorbell_function)?;
            smccc::forward(&fd, smccc::CPU_OFF)?;
            Doorbell::Hvc(config.doorbell_function)
        } else {
            Doorbell::Mmio(config.doorbell_address)
        };
        let page = process.page_size;
        let reserved = match doorbell {
            Doorbell::Mmio(address) => GuestRange::new(address & !(page - 1), page).into_iter().collect(),
            _ => Vec::new(),
        };
        let constraints = RamConstraints::new(page, process.address_bits, reserved);
        // SAFETY: vCPUs are created by `KvmBareVcpu::create` only. Their descriptors and mappings are in the field `entry`, which is dropped
        // before the field `machine`; no method gives them away. So they are closed when the last reference to `Machine` is dropped. There
        // are no other descriptors of the machine.
        let file = unsafe { VmFile::new_without_slot_deletion(fd, constraints) }?;
        Ok(Self(Arc::new(Machine {
            file,
            process,
            config,
            doorbell,
        })))
    }

    /// Number of bits of guest physical addresses of bare machines on this host.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new).
    pub fn address_bits() -> Result<u32, KvmError> {
        Ok(Process::get()?.address_bits)
    }
}

impl Vm for KvmBareVm {
    type Error = KvmError;
    type Vcpu = KvmBareVcpu;
    type Ram = RamRegion;

    fn arch(&self) -> Arch {
        Arch::Aarch64
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
    fn set_irq(&self, line: u32, level: bool) -> Result<(), KvmError> {
        let irq = gic::irq_line(line).ok_or(KvmError::NoSuchInterruptLine { line })?;
        self.0
            .file
            .fd()
            .set_irq_line(irq, level)
            .map_err(failed_request("KVM_IRQ_LINE"))
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
        // Every KVM of arm64 has a dirty log; read-only memory is a required capability.
        BareAbilities::new(self.0.doorbell, self.0.process.page_size)
            .with_dirty_log(true)
            .with_read_only(true)
            .with_rewind_code(RewindCode {
                code: &rewind::CODE,
                image_len: state::image_len(),
            })
    }
}
