//! What is equal for all bare machines of this process.

use std::{collections::BTreeSet, sync::OnceLock};

use boot_core::{GuestRange, cpu::x86_64::cr4};
use hv_kvm::{Capability, capability, retry_interrupted};
use kvm_bindings::{
    CpuId, KVM_CAP_ENFORCE_PV_FEATURE_CPUID, KVM_CAP_PMU_CAPABILITY, KVM_CAP_READONLY_MEM, KVM_CAP_SYNC_REGS,
    KVM_CAP_X86_MSR_FILTER, KVM_MAX_CPUID_ENTRIES, KVM_PMU_CAP_DISABLE, KVM_SYNC_X86_VALID_FIELDS,
    kvm_enable_cap,
};
use kvm_ioctls::{Kvm, VmFd};

use super::{
    config::{BareConfig, MsrAccess},
    mce,
    state::{BareState, Registers},
};
use crate::{
    KvmError, Msr, bare_cpuid,
    cpuid::CpuidEntry,
    kvm::{convert, entry::VcpuEntry, groups, msrs, request::failed_request, xsave},
};

/// Capabilities that a bare machine asks for.
const CAPABILITIES: [Capability; 9] = [
    Capability::required(
        KVM_CAP_READONLY_MEM,
        "KVM_CAP_READONLY_MEM",
        "code and messages of the host are read-only for the guest",
    ),
    Capability::required(
        KVM_CAP_ENFORCE_PV_FEATURE_CPUID,
        "KVM_CAP_ENFORCE_PV_FEATURE_CPUID",
        "the guest cannot make KVM write its memory",
    ),
    groups::VCPU_EVENTS,
    groups::DEBUGREGS,
    groups::XSAVE,
    groups::XCRS,
    Capability::optional(
        KVM_CAP_SYNC_REGS,
        "KVM_CAP_SYNC_REGS",
        "a rewind takes more system calls",
    ),
    Capability::optional(
        KVM_CAP_PMU_CAPABILITY,
        "KVM_CAP_PMU_CAPABILITY",
        "the performance monitoring unit is hidden from guests, but not disabled",
    ),
    Capability::optional(
        KVM_CAP_X86_MSR_FILTER,
        "KVM_CAP_X86_MSR_FILTER",
        "a guest can change MSRs, so a rewind writes all of them",
    ),
];

/// Page for `KVM_SET_IDENTITY_MAP_ADDR`, and after it three pages for `KVM_SET_TSS_ADDR`: below 256 MiB, where a sandbox has no memory. KVM
/// uses them on Intel hosts whose hardware cannot run real mode.
const IDENTITY_MAP: u64 = 0x0fff_c000;
const TSS: usize = 0x0fff_d000;
pub(super) const RESERVED: GuestRange = GuestRange::from_bounds(IDENTITY_MAP, 0x1000_0000).unwrap();

/// What is equal for all bare machines of this process with the same CPUID table and the same access to MSRs.
#[derive(Debug)]
pub(super) struct Process {
    kvm: &'static Kvm,
    cpuid: CpuId,
    /// The same table as plain data.
    pub(super) table: Vec<CpuidEntry>,
    is_intel: bool,
    has_pmu_capability: bool,
    /// Bits of `CR4` for features that the guest has.
    pub(super) cr4: u64,
    /// `XCR0` of a vCPU after its creation: all state components that the guest can have.
    xcr0: u64,
    /// The guest cannot execute `RDMSR` and `WRMSR`.
    pub(super) denies_msrs: bool,
    pub(super) registers: Registers,
    /// State of a vCPU after its creation.
    pub(super) reset_state: BareState,
}

impl Process {
    /// The value for machines of `config`. The first call creates a machine to read it.
    pub(super) fn get(config: BareConfig) -> Result<&'static Self, KvmError> {
        static PROCESSES: [[OnceLock<Process>; 2]; 2] = [const { [const { OnceLock::new() }; 2] }; 2];
        let [[denied, denied_entropy], [allowed, allowed_entropy]] = &PROCESSES;
        let process = match (config.msrs, config.entropy) {
            (MsrAccess::Denied, false) => denied,
            (MsrAccess::Denied, true) => denied_entropy,
            (MsrAccess::Allowed, false) => allowed,
            (MsrAccess::Allowed, true) => allowed_entropy,
        };
        if let Some(process) = process.get() {
            return Ok(process);
        }
        // Of several threads, one wins.
        let read = Self::read(config)?;
        Ok(process.get_or_init(|| read))
    }

    fn read(config: BareConfig) -> Result<Self, KvmError> {
        let kvm = hv_kvm::shared(&CAPABILITIES)?;
        let supported = kvm
            .get_supported_cpuid(KVM_MAX_CPUID_ENTRIES)
            .map_err(failed_request("KVM_GET_SUPPORTED_CPUID"))
            .map(|cpuid| convert::from_cpuid(&cpuid))?;
        let is_intel = supported.iter().any(|entry| {
            let vendor = [entry.ebx, entry.edx, entry.ecx].map(u32::to_le_bytes);
            entry.function == 0 && vendor.as_flattened() == b"GenuineIntel"
        });
        let sync = capability(kvm, KVM_CAP_SYNC_REGS)?;
        let table = bare_cpuid::table(&supported, config.entropy);
        let features = bare_cpuid::Features::of(&table);
        let mut process = Self {
            kvm,
            cpuid: convert::to_cpuid(&table)?,
            table,
            cr4: features.cr4,
            xcr0: features.xcr0,
            is_intel,
            has_pmu_capability: capability(kvm, KVM_CAP_PMU_CAPABILITY)? > 0,
            denies_msrs: config.msrs == MsrAccess::Denied && capability(kvm, KVM_CAP_X86_MSR_FILTER)? > 0,
            registers: Registers {
                has_sync: u32::try_from(sync)
                    .is_ok_and(|sync| sync & KVM_SYNC_X86_VALID_FIELDS == KVM_SYNC_X86_VALID_FIELDS),
                ..Registers::default()
            },
            reset_state: BareState::default(),
        };
        let vm = process.create_vm()?;
        let mut vcpu = process.create_vcpu(&vm)?;
        process.registers.extra_xsave_words = xsave::extra_words(&vm)?;
        process.registers.event_flags = vcpu
            .fd()
            .get_vcpu_events()
            .map_err(failed_request("KVM_GET_VCPU_EVENTS"))?
            .flags;
        process.registers.msrs = if process.denies_msrs {
            // SWAPGS exchanges this register and the base of GS.
            vec![Msr::KERNEL_GS_BASE]
        } else {
            process.rewindable_msrs(&vcpu)?
        };
        process.reset_state = process.registers.capture(&mut vcpu)?;
        Ok(process)
    }

    /// Creates a machine.
    pub(super) fn create_vm(&self) -> Result<VmFd, KvmError> {
        let vm = retry_interrupted(|| self.kvm.create_vm()).map_err(failed_request("KVM_CREATE_VM"))?;
        if self.is_intel {
            vm.set_identity_map_address(IDENTITY_MAP)
                .map_err(failed_request("KVM_SET_IDENTITY_MAP_ADDR"))?;
            vm.set_tss_address(TSS)
                .map_err(failed_request("KVM_SET_TSS_ADDR"))?;
        }
        if self.has_pmu_capability {
            let disable = enable_cap(KVM_CAP_PMU_CAPABILITY, KVM_PMU_CAP_DISABLE.into());
            match vm.enable_cap(&disable) {
                Ok(()) => {}
                // A host without the module parameter `enable_pmu` has none to disable, and refuses.
                Err(error) if error.errno() == libc::EINVAL => {}
                Err(error) => return Err(failed_request("KVM_ENABLE_CAP (KVM_CAP_PMU_CAPABILITY)")(error)),
            }
        }
        Ok(vm)
    }

    /// Creates the vCPU of a machine.
    pub(super) fn create_vcpu(&self, vm: &VmFd) -> Result<VcpuEntry, KvmError> {
        let fd = retry_interrupted(|| vm.create_vcpu(0)).map_err(failed_request("KVM_CREATE_VCPU"))?;
        fd.set_cpuid2(&self.cpuid)
            .map_err(failed_request("KVM_SET_CPUID2"))?;
        fd.enable_cap(&enable_cap(KVM_CAP_ENFORCE_PV_FEATURE_CPUID, 1))
            .map_err(failed_request("KVM_ENABLE_CAP"))?;
        if !self.denies_msrs {
            mce::limit_banks(&fd)?;
        }
        if self.cr4 & cr4::OSXSAVE != 0 {
            groups::write_xcr0(&fd, self.xcr0)?;
        }
        VcpuEntry::new(fd, vm.run_size())
    }

    /// The MSRs that a rewind writes, in ascending order: all that KVM knows and accepts, except
    ///
    /// - those in other groups of registers, which are read and written there;
    /// - time counters;
    /// - those of paravirtual interfaces, which the guest cannot access.
    fn rewindable_msrs(&self, vcpu: &VcpuEntry) -> Result<Vec<Msr>, KvmError> {
        let listed = self
            .kvm
            .get_msr_index_list()
            .map_err(failed_request("KVM_GET_MSR_INDEX_LIST"))?;
        let listed = listed.as_slice().iter().map(|&index| Msr(index));
        let candidates: BTreeSet<_> = listed
            .chain(Msr::not_in_index_list())
            .filter(|msr| !msr.is_hyper_v() && !msr.is_time_counter() && !is_elsewhere(*msr))
            .collect();
        let candidates: Vec<_> = candidates.into_iter().collect();
        let values = msrs::read_all(vcpu.fd(), &candidates)?;
        // KVM rejects writes of read-only registers, even of their values.
        let mut accepted = Vec::new();
        for (msr, value) in values {
            match msrs::write(vcpu.fd(), &[(msr, value)]) {
                Ok(()) => accepted.push(msr),
                Err(KvmError::SetMsr { .. }) => {}
                // A register that is left out would keep what a guest wrote to it.
                Err(error) => return Err(error),
            }
        }
        Ok(accepted)
    }
}

/// Whether the register is part of another group, or of KVM's paravirtual interface.
fn is_elsewhere(msr: Msr) -> bool {
    const KVM: std::ops::RangeInclusive<u32> = 0x4b56_4d00..=0x4b56_4dff;
    matches!(
        msr,
        Msr::EFER
            | Msr::FS_BASE
            | Msr::GS_BASE
            | Msr::APIC_BASE
            | Msr::TSC_DEADLINE
            | Msr::KVM_WALL_CLOCK
            | Msr::KVM_SYSTEM_TIME
    ) || KVM.contains(&msr.0)
}

fn enable_cap(capability: u32, argument: u64) -> kvm_enable_cap {
    let mut enable = kvm_enable_cap {
        cap: capability,
        ..kvm_enable_cap::default()
    };
    if let Some(first) = enable.args.first_mut() {
        *first = argument;
    }
    enable
}
