//! The virtual machine.
#![expect(unsafe_code, reason = "asks the host for its page size")]

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use boot_core::Arch;
use guest_ram::RamRegion;
use hv_core::Vm;
use hv_kvm::{HarnessError, RamRules, VmFile};
use kvm_bindings::{
    KVM_ARM_VCPU_PMU_V3, KVM_ARM_VCPU_PSCI_0_2, KVM_ARM_VCPU_PTRAUTH_ADDRESS, KVM_ARM_VCPU_PTRAUTH_GENERIC,
    KVM_ARM_VCPU_SVE, KVM_CAP_ARM_NISV_TO_USER, kvm_enable_cap, kvm_vcpu_init,
};
use kvm_ioctls::{Cap, Kvm, VmFd};

use super::{
    KvmVcpu,
    gic::{self as device, GicDevice},
    refused,
};
use crate::{Gic, HostSupport, KvmError, Layout, VcpuFeatures, gic};

/// The size of guest physical addresses on hosts that do not say it.
const DEFAULT_ADDRESS_BITS: u32 = 40;

/// An arm64 machine under KVM: the GIC, the timers and PSCI are emulated in the kernel, everything else by devices on a
/// bus.
///
/// The numbers of interrupt lines are those of shared peripheral interrupts, counted from 0 as in device trees. The
/// interrupt controller comes into being with the last vCPU; before that no vCPU can run.
#[derive(Clone, Debug)]
pub struct KvmVm(Arc<Machine>);

/// What the machine's handle and all its vCPUs share: each of them keeps the guest's RAM alive.
#[derive(Debug)]
pub(crate) struct Machine {
    pub(super) file: VmFile,
    gic: OnceLock<GicDevice>,
    vcpus: u32,
    created: Mutex<BTreeSet<u32>>,
    layout: Gic,
    pub(super) features: VcpuFeatures,
    target: kvm_vcpu_init,
}

/// Opens KVM and checks that it is one this harness can use.
fn open() -> Result<Kvm, HarnessError> {
    hv_kvm::open(&[
        (Cap::OneReg, "KVM_CAP_ONE_REG"),
        (Cap::DeviceCtrl, "KVM_CAP_DEVICE_CTRL"),
        (Cap::ArmPsci02, "KVM_CAP_ARM_PSCI_0_2"),
        (Cap::VcpuEvents, "KVM_CAP_VCPU_EVENTS"),
    ])
}

/// How many bits guest physical addresses can have.
fn address_bits(kvm: &Kvm) -> u32 {
    u32::try_from(kvm.get_host_ipa_limit())
        .ok()
        .filter(|&bits| bits > 0)
        .unwrap_or(DEFAULT_ADDRESS_BITS)
}

/// Creates a machine with as many bits of guest physical addresses as the host has.
fn create_vm(kvm: &Kvm) -> Result<VmFd, KvmError> {
    let vm = if kvm.check_extension(Cap::ArmVmIPASize) {
        kvm.create_vm_with_ipa_size(address_bits(kvm))
    } else {
        kvm.create_vm()
    };
    vm.map_err(refused("KVM_CREATE_VM"))
}

fn features(kvm: &Kvm) -> VcpuFeatures {
    VcpuFeatures {
        pmu: kvm.check_extension(Cap::ArmPmuV3),
        sve: kvm.check_extension(Cap::ArmSve),
        pointer_auth: kvm.check_extension(Cap::ArmPtrAuthAddress)
            && kvm.check_extension(Cap::ArmPtrAuthGeneric),
    }
}

impl KvmVm {
    /// What this host's KVM can do. Machines are made for it and thrown away.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new).
    pub fn host_support() -> Result<HostSupport, KvmError> {
        let kvm = open()?;
        let (v3, v2) = (create_vm(&kvm)?, create_vm(&kvm)?);
        let gic_v3 = device::create(&v3, device::V3);
        Ok(HostSupport {
            address_bits: address_bits(&kvm),
            features: features(&kvm),
            gic_v2: device::create(&v2, device::V2).is_ok(),
            gic_v3: gic_v3.is_ok(),
            its: gic_v3.is_ok() && device::create(&v3, device::ITS).is_ok(),
        })
    }

    /// Creates a machine as `layout` says, without RAM, whose vCPUs will have `features`.
    ///
    /// # Errors
    ///
    /// [`HarnessError::Open`] where there is no KVM, [`HarnessError::MissingCapability`] where it lacks what is needed or
    /// asked for, and whatever KVM refuses.
    pub fn new(layout: &Layout, features: VcpuFeatures) -> Result<Self, KvmError> {
        let kvm = open()?;
        let host = self::features(&kvm);
        for (wanted, has, name) in [
            (features.pmu, host.pmu, "KVM_CAP_ARM_PMU_V3"),
            (features.sve, host.sve, "KVM_CAP_ARM_SVE"),
            (
                features.pointer_auth,
                host.pointer_auth,
                "KVM_CAP_ARM_PTRAUTH_ADDRESS and KVM_CAP_ARM_PTRAUTH_GENERIC",
            ),
        ] {
            if wanted && !has {
                return Err(HarnessError::MissingCapability { name }.into());
            }
        }
        let fd = create_vm(&kvm)?;
        // Without it, an access that the hardware does not take apart ends KVM_RUN with an error that names no address.
        let nisv = kvm_enable_cap {
            cap: KVM_CAP_ARM_NISV_TO_USER,
            ..kvm_enable_cap::default()
        };
        fd.enable_cap(&nisv)
            .map_err(refused("KVM_ENABLE_CAP (KVM_CAP_ARM_NISV_TO_USER)"))?;
        let mut target = kvm_vcpu_init::default();
        fd.get_preferred_target(&mut target)
            .map_err(refused("KVM_ARM_PREFERRED_TARGET"))?;
        set_feature(&mut target, KVM_ARM_VCPU_PSCI_0_2);
        for (wanted, feature) in [
            (features.pmu, KVM_ARM_VCPU_PMU_V3),
            (features.sve, KVM_ARM_VCPU_SVE),
            (features.pointer_auth, KVM_ARM_VCPU_PTRAUTH_ADDRESS),
            (features.pointer_auth, KVM_ARM_VCPU_PTRAUTH_GENERIC),
        ] {
            if wanted {
                set_feature(&mut target, feature);
            }
        }
        Ok(Self(Arc::new(Machine {
            file: VmFile::new(
                fd,
                RamRules {
                    page: page_size(),
                    address_bits: address_bits(&kvm),
                    reserved: layout.gic.ranges().collect(),
                },
            ),
            gic: OnceLock::new(),
            vcpus: layout.vcpus,
            created: Mutex::default(),
            layout: layout.gic.clone(),
            features,
            target,
        })))
    }

    /// Puts the part of the interrupt controller that the vCPUs share, and its ITS, back into the state they were
    /// created in. A machine reset is this and a reset of every vCPU. No vCPU may be running.
    ///
    /// # Errors
    ///
    /// [`KvmError::Unfinished`] before all vCPUs exist, and whatever KVM refuses.
    pub fn reset_gic(&self) -> Result<(), KvmError> {
        self.0.gic()?.reset_shared()
    }

    /// The part of the interrupt controller that the vCPUs share: its distributor's registers by offset. No vCPU may be
    /// running.
    ///
    /// The levels of interrupt lines are not part of it, as they belong to the devices; nor is an ITS, whose state is in
    /// guest memory and in its own registers.
    ///
    /// # Errors
    ///
    /// As [`reset_gic`](Self::reset_gic).
    pub fn gic_state(&self) -> Result<BTreeMap<u32, u32>, KvmError> {
        self.0.gic()?.shared_state()
    }

    /// Replaces what [`gic_state`](Self::gic_state) reads; registers that `state` lacks keep their values. No vCPU may be
    /// running.
    ///
    /// # Errors
    ///
    /// As [`reset_gic`](Self::reset_gic).
    pub fn set_gic_state(&self, state: &BTreeMap<u32, u32>) -> Result<(), KvmError> {
        self.0.gic()?.set_shared_state(state)
    }
}

/// Sets a bit of the features that vCPUs are initialised with.
pub(super) fn set_feature(init: &mut kvm_vcpu_init, feature: u32) {
    if let Some(word) = usize::try_from(feature / 32)
        .ok()
        .and_then(|word| init.features.get_mut(word))
    {
        *word |= 1 << (feature % 32);
    }
}

/// The host's page size, of which RAM slots consist.
fn page_size() -> u64 {
    // SAFETY: sysconf has no preconditions.
    let size = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    u64::try_from(size).unwrap_or(4096)
}

impl Machine {
    /// What vCPUs are initialised with.
    pub(super) fn target(&self) -> kvm_vcpu_init {
        self.target
    }

    /// The interrupt controller, which exists when all vCPUs do.
    pub(super) fn gic(&self) -> Result<&GicDevice, KvmError> {
        self.gic.get().ok_or_else(|| {
            let created = self.created.lock().unwrap_or_else(PoisonError::into_inner).len();
            KvmError::Unfinished {
                created: u32::try_from(created).unwrap_or(u32::MAX),
                count: self.vcpus,
            }
        })
    }

    /// Notes that vCPU `index` was created and initialised; with the last one comes the interrupt controller.
    fn created(&self, index: u32) -> Result<(), KvmError> {
        let mut created = self.created.lock().unwrap_or_else(PoisonError::into_inner);
        created.insert(index);
        if u32::try_from(created.len()) == Ok(self.vcpus) && self.gic.get().is_none() {
            let gic = GicDevice::new(self.file.fd(), &self.layout, self.vcpus)?;
            // Only this function sets it, and it holds the lock.
            let _ = self.gic.set(gic);
        }
        Ok(())
    }
}

impl Vm for KvmVm {
    type Error = KvmError;
    type Vcpu = KvmVcpu;
    type Ram = RamRegion;

    fn arch(&self) -> Arch {
        Arch::Aarch64
    }

    fn create_vcpu(&self, index: u32) -> Result<KvmVcpu, KvmError> {
        let count = self.0.vcpus;
        if index >= count {
            return Err(HarnessError::NoSuchVcpu { index, count }.into());
        }
        let vcpu = KvmVcpu::create(Arc::clone(&self.0), index)?;
        self.0.created(index)?;
        Ok(vcpu)
    }

    fn map_ram(&self, slot: u32, ram: RamRegion) -> Result<(), KvmError> {
        Ok(self.0.file.map(slot, ram)?)
    }

    fn unmap_ram(&self, slot: u32) -> Result<RamRegion, KvmError> {
        Ok(self.0.file.unmap(slot)?)
    }

    fn set_irq(&self, line: u32, level: bool) -> Result<(), KvmError> {
        let irq = gic::irq_line(line).ok_or(KvmError::NoSuchLine { line })?;
        self.0
            .file
            .fd()
            .set_irq_line(irq, level)
            .map_err(refused("KVM_IRQ_LINE"))
    }
}
