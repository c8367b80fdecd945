//! The virtual machine.

use std::{collections::BTreeSet, sync::Arc};

use boot_core::Arch;
use guest_ram::RamRegion;
use hv_core::Vm;
use hv_kvm::{Capability, RamConstraints, VmFile, retry_interrupted};
use kvm_bindings::{
    KVM_CAP_IRQCHIP, KVM_CAP_PIT_STATE2, KVM_CAP_PIT2, KVM_CAP_READONLY_MEM, KVM_CAP_TSC_DEADLINE_TIMER,
    KVM_MAX_CPUID_ENTRIES, KVM_PIT_SPEAKER_DUMMY, kvm_pit_config,
};

use super::{
    convert, groups,
    machine::{IrqchipState, Machine},
    request::failed_request,
    vcpu::KvmVcpu,
};
use crate::{KvmError, Msr, Topology, layout};

/// Capabilities that this harness asks for.
pub(crate) const CAPABILITIES: [Capability; 9] = [
    Capability::required(
        KVM_CAP_IRQCHIP,
        "KVM_CAP_IRQCHIP",
        "the kernel emulates the interrupt controllers",
    ),
    Capability::required(
        KVM_CAP_READONLY_MEM,
        "KVM_CAP_READONLY_MEM",
        "memory of option ROMs and BIOS is read-only",
    ),
    Capability::required(
        KVM_CAP_PIT2,
        "KVM_CAP_PIT2",
        "the kernel emulates the timer of a PC",
    ),
    Capability::required(
        KVM_CAP_PIT_STATE2,
        "KVM_CAP_PIT_STATE2",
        "the timer of a PC can be reset",
    ),
    groups::VCPU_EVENTS,
    groups::DEBUGREGS,
    groups::XSAVE,
    groups::XCRS,
    Capability::optional(
        KVM_CAP_TSC_DEADLINE_TIMER,
        "KVM_CAP_TSC_DEADLINE_TIMER",
        "guests use the local APIC timer without TSC deadlines",
    ),
];

/// Page size of x86_64.
const PAGE: u64 = 4096;

/// A PC on KVM. The kernel emulates PIC, I/O APIC, local APICs and PIT; other devices are on a bus.
///
/// Interrupt lines are global system interrupts: 0 to 15 go to the PIC and the I/O APIC, 16 to 23 to the I/O APIC only.
#[derive(Clone, Debug)]
pub struct KvmVm(Arc<Machine>);

impl KvmVm {
    /// Creates a machine with this topology of vCPUs, without RAM, ROM, vCPUs and devices. [`board_on_kvm`](crate::board_on_kvm)
    /// builds the whole PC of a [`Layout`](crate::Layout).
    ///
    /// # Errors
    ///
    /// [`HarnessError::Open`](hv_kvm::HarnessError::Open) on a host without KVM, and errors of KVM.
    pub fn new(topology: Topology) -> Result<Self, KvmError> {
        let kvm = hv_kvm::open(&CAPABILITIES)?;
        let supported = kvm
            .get_supported_cpuid(KVM_MAX_CPUID_ENTRIES)
            .map_err(failed_request("KVM_GET_SUPPORTED_CPUID"))
            .map(|cpuid| convert::from_cpuid(&cpuid))?;
        let listed = kvm
            .get_msr_index_list()
            .map_err(failed_request("KVM_GET_MSR_INDEX_LIST"))?
            .as_slice()
            .iter()
            .map(|&index| Msr(index))
            .filter(|msr| !msr.is_hyper_v())
            .collect::<Vec<_>>();
        // Some kernels list registers that others do not.
        let msrs: BTreeSet<_> = listed.into_iter().chain(Msr::not_in_index_list()).collect();

        let fd = retry_interrupted(|| kvm.create_vm()).map_err(failed_request("KVM_CREATE_VM"))?;
        // Both addresses are used on Intel hosts only; both must be set before the first vCPU is created.
        fd.set_identity_map_address(layout::IDENTITY_MAP)
            .map_err(failed_request("KVM_SET_IDENTITY_MAP_ADDR"))?;
        #[expect(
            clippy::as_conversions,
            clippy::cast_possible_truncation,
            reason = "usize is u64 on x86_64"
        )]
        fd.set_tss_address(layout::TSS as usize)
            .map_err(failed_request("KVM_SET_TSS_ADDR"))?;
        retry_interrupted(|| fd.create_irq_chip()).map_err(failed_request("KVM_CREATE_IRQCHIP"))?;
        // With this flag, reads of the speaker port return the timer output, which some guests poll.
        let pit = kvm_pit_config {
            flags: KVM_PIT_SPEAKER_DUMMY,
            ..kvm_pit_config::default()
        };
        retry_interrupted(|| fd.create_pit2(pit)).map_err(failed_request("KVM_CREATE_PIT2"))?;
        let irqchip_reset_state = IrqchipState::read(&fd)?;
        Ok(Self(Arc::new(Machine {
            file: VmFile::new(fd, RamConstraints::new(PAGE, u64::BITS, vec![layout::RESERVED])),
            topology,
            supported,
            tsc_deadline: hv_kvm::capability(&kvm, KVM_CAP_TSC_DEADLINE_TIMER)? > 0,
            msrs: msrs.into_iter().collect(),
            irqchip_reset_state,
        })))
    }

    /// Topology of the vCPUs.
    #[must_use]
    pub fn topology(&self) -> Topology {
        self.0.topology
    }

    /// Maps `memory` as slot number `slot`: with `read_only`, the guest can read and execute it, but writes of the guest are
    /// device accesses and do not change it.
    ///
    /// # Errors
    ///
    /// As [`map_ram`](Vm::map_ram).
    pub fn map_rom(&self, slot: u32, memory: RamRegion, read_only: bool) -> Result<(), KvmError> {
        let file = &self.0.file;
        Ok(if read_only {
            file.map_read_only(slot, memory)
        } else {
            file.map(slot, memory)
        }?)
    }

    /// Resets the interrupt controllers and the PIT to their state after creation. A machine reset is this and a reset of
    /// every vCPU.
    ///
    /// # Errors
    ///
    /// Errors of KVM.
    pub fn reset_irqchip(&self) -> Result<(), KvmError> {
        self.0.irqchip_reset_state.write(self.0.file.fd())
    }
}

impl Vm for KvmVm {
    type Error = KvmError;
    type Vcpu = KvmVcpu;
    type Ram = RamRegion;

    fn arch(&self) -> Arch {
        Arch::X86_64
    }

    fn create_vcpu(&self, index: u32) -> Result<KvmVcpu, KvmError> {
        KvmVcpu::create(Arc::clone(&self.0), index)
    }

    fn map_ram(&self, slot: u32, ram: RamRegion) -> Result<(), KvmError> {
        Ok(self.0.file.map(slot, ram)?)
    }

    fn unmap_ram(&self, slot: u32) -> Result<RamRegion, KvmError> {
        Ok(self.0.file.unmap(slot)?)
    }

    fn set_irq(&self, line: u32, level: bool) -> Result<(), KvmError> {
        self.0
            .file
            .fd()
            .set_irq_line(line, level)
            .map_err(failed_request("KVM_IRQ_LINE"))
    }
}
