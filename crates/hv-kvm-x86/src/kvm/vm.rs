//! The virtual machine.

use std::{collections::BTreeSet, sync::Arc};

use boot_core::Arch;
use guest_ram::RamRegion;
use hv_core::Vm;
use hv_kvm::{RamRules, VmFile};
use kvm_bindings::{
    KVM_MAX_CPUID_ENTRIES, KVM_PIT_SPEAKER_DUMMY, kvm_irqchip, kvm_pit_config, kvm_pit_state2,
};
use kvm_ioctls::{Cap, VmFd};

use super::{KvmVcpu, convert, refused};
use crate::{
    KvmError, Msr, Topology,
    cpuid::{self, CpuidEntry},
    layout,
};

/// The page size of x86_64.
const PAGE: u64 = 4096;

/// A PC under KVM: PIC, I/O APIC, local APICs and PIT are emulated in the kernel, everything else by devices on a bus.
///
/// The numbers of interrupt lines are global system interrupts: 0 to 15 go to the PIC and the I/O APIC, 16 to 23 to
/// the I/O APIC alone.
#[derive(Clone, Debug)]
pub struct KvmVm(Arc<Machine>);

/// What the machine's handle and all its vCPUs share: each of them keeps the guest's RAM alive.
#[derive(Debug)]
pub(crate) struct Machine {
    pub(crate) file: VmFile,
    pub(crate) topology: Topology,
    supported: Vec<CpuidEntry>,
    tsc_deadline: bool,
    /// The MSRs that may be part of a vCPU's state, in ascending order; which ones are depends on its CPUID table.
    pub(crate) msrs: Vec<Msr>,
    fresh_chips: Chips,
}

/// The state of the interrupt controllers and the timer.
#[derive(Clone)]
struct Chips {
    irqchips: [kvm_irqchip; 3],
    pit: kvm_pit_state2,
}

impl std::fmt::Debug for Chips {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Chips")
            .field("pit", &self.pit)
            .finish_non_exhaustive()
    }
}

impl Chips {
    fn read(fd: &VmFd) -> Result<Self, KvmError> {
        let mut irqchips = [kvm_irqchip::default(); 3];
        for (chip_id, chip) in (0..).zip(&mut irqchips) {
            chip.chip_id = chip_id;
            fd.get_irqchip(chip).map_err(refused("KVM_GET_IRQCHIP"))?;
        }
        let pit = fd.get_pit2().map_err(refused("KVM_GET_PIT2"))?;
        Ok(Self { irqchips, pit })
    }

    fn write(&self, fd: &VmFd) -> Result<(), KvmError> {
        for chip in &self.irqchips {
            fd.set_irqchip(chip).map_err(refused("KVM_SET_IRQCHIP"))?;
        }
        fd.set_pit2(&self.pit).map_err(refused("KVM_SET_PIT2"))
    }
}

impl KvmVm {
    /// Creates a machine for the vCPUs of `topology`, without RAM.
    ///
    /// # Errors
    ///
    /// [`HarnessError::Open`](hv_kvm::HarnessError::Open) where there is no KVM, and whatever KVM refuses.
    pub fn new(topology: Topology) -> Result<Self, KvmError> {
        let kvm = hv_kvm::open(&[
            (Cap::Irqchip, "KVM_CAP_IRQCHIP"),
            (Cap::Pit2, "KVM_CAP_PIT2"),
            (Cap::PitState2, "KVM_CAP_PIT_STATE2"),
            (Cap::VcpuEvents, "KVM_CAP_VCPU_EVENTS"),
            (Cap::Debugregs, "KVM_CAP_DEBUGREGS"),
            (Cap::Xsave, "KVM_CAP_XSAVE"),
            (Cap::Xcrs, "KVM_CAP_XCRS"),
        ])?;
        let supported = kvm
            .get_supported_cpuid(KVM_MAX_CPUID_ENTRIES)
            .map_err(refused("KVM_GET_SUPPORTED_CPUID"))
            .map(|cpuid| convert::from_cpuid(&cpuid))?;
        let listed = kvm
            .get_msr_index_list()
            .map_err(refused("KVM_GET_MSR_INDEX_LIST"))?
            .as_slice()
            .iter()
            .map(|&index| Msr(index))
            .filter(|msr| !msr.is_hyper_v())
            .collect::<Vec<_>>();
        // Some kernels do list what others leave out.
        let msrs: BTreeSet<_> = listed.into_iter().chain(Msr::unlisted()).collect();

        let fd = kvm.create_vm().map_err(refused("KVM_CREATE_VM"))?;
        // Both addresses matter on Intel hosts only; both must be set before the first vCPU is created.
        fd.set_identity_map_address(layout::IDENTITY_MAP)
            .map_err(refused("KVM_SET_IDENTITY_MAP_ADDR"))?;
        #[expect(
            clippy::as_conversions,
            clippy::cast_possible_truncation,
            reason = "usize is u64 on x86_64"
        )]
        fd.set_tss_address(layout::TSS as usize)
            .map_err(refused("KVM_SET_TSS_ADDR"))?;
        fd.create_irq_chip().map_err(refused("KVM_CREATE_IRQCHIP"))?;
        // With the dummy, reading the speaker's port shows the timer's output, which some guests wait for.
        let pit = kvm_pit_config {
            flags: KVM_PIT_SPEAKER_DUMMY,
            ..kvm_pit_config::default()
        };
        fd.create_pit2(pit).map_err(refused("KVM_CREATE_PIT2"))?;
        let fresh_chips = Chips::read(&fd)?;
        Ok(Self(Arc::new(Machine {
            file: VmFile::new(
                fd,
                RamRules {
                    page: PAGE,
                    address_bits: u64::BITS,
                    reserved: vec![layout::RESERVED],
                },
            ),
            topology,
            supported,
            tsc_deadline: kvm.check_extension(Cap::TscDeadlineTimer),
            msrs: msrs.into_iter().collect(),
            fresh_chips,
        })))
    }

    /// How the vCPUs are arranged.
    #[must_use]
    pub fn topology(&self) -> Topology {
        self.0.topology
    }

    /// Puts the interrupt controllers and the timer back into the state they were created in. A machine reset is
    /// this and a reset of every vCPU.
    ///
    /// # Errors
    ///
    /// Whatever KVM refuses.
    pub fn reset_chips(&self) -> Result<(), KvmError> {
        self.0.fresh_chips.write(self.0.file.fd())
    }
}

impl Machine {
    /// The CPUID table of vCPU `index`.
    pub(crate) fn cpuid(&self, index: u32) -> Vec<CpuidEntry> {
        cpuid::for_vcpu(&self.supported, self.topology, index, self.tsc_deadline)
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
            .map_err(refused("KVM_IRQ_LINE"))
    }
}
