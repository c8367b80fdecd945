//! The virtual machine.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, OnceLock},
};

use boot_core::Arch;
use guest_ram::RamRegion;
use hv_core::Vm;
use hv_kvm::{Capability, HarnessError, RamConstraints, ResetState, VmFile};
use kvm_bindings::{
    KVM_ARM_VCPU_PMU_V3, KVM_ARM_VCPU_PSCI_0_2, KVM_ARM_VCPU_PTRAUTH_ADDRESS, KVM_ARM_VCPU_PTRAUTH_GENERIC,
    KVM_ARM_VCPU_SVE, KVM_CAP_ARM_PMU_V3, KVM_CAP_ARM_PTRAUTH_ADDRESS, KVM_CAP_ARM_PTRAUTH_GENERIC,
    KVM_CAP_ARM_SVE, KVM_CAP_DEVICE_CTRL, kvm_vcpu_init,
};
use kvm_ioctls::Kvm;

use super::{
    gic as device, host,
    machine::{Machine, NewState, set_feature},
    request::failed_request,
    vcpu::KvmVcpu,
};
use crate::{HostCapabilities, KvmError, Layout, VcpuFeatures, gic};

/// An arm64 machine on KVM. The kernel emulates the GIC, the timers and PSCI; other devices are on a bus.
///
/// Interrupt lines are shared peripheral interrupts, counted from 0 as in device trees. The interrupt controller is created
/// after the last vCPU; before that no vCPU can run.
#[derive(Clone, Debug)]
pub struct KvmVm(Arc<Machine>);

/// Capabilities that this harness asks for.
pub(crate) const CAPABILITIES: [Capability; 10] = [
    host::ONE_REG,
    Capability::required(
        KVM_CAP_DEVICE_CTRL,
        "KVM_CAP_DEVICE_CTRL",
        "the kernel emulates the interrupt controller",
    ),
    host::PSCI,
    host::VCPU_EVENTS,
    host::NISV_TO_USER,
    host::IPA_SIZE,
    Capability::optional(
        KVM_CAP_ARM_PMU_V3,
        "KVM_CAP_ARM_PMU_V3",
        "guests have no performance monitors",
    ),
    Capability::optional(
        KVM_CAP_ARM_SVE,
        "KVM_CAP_ARM_SVE",
        "guests have no scalable vectors (SVE)",
    ),
    Capability::optional(
        KVM_CAP_ARM_PTRAUTH_ADDRESS,
        "KVM_CAP_ARM_PTRAUTH_ADDRESS",
        "guests have no pointer authentication",
    ),
    Capability::optional(
        KVM_CAP_ARM_PTRAUTH_GENERIC,
        "KVM_CAP_ARM_PTRAUTH_GENERIC",
        "guests have no pointer authentication",
    ),
];

/// Opens KVM with the capabilities that this harness needs.
fn open() -> Result<Kvm, HarnessError> {
    hv_kvm::open(&CAPABILITIES)
}

fn features(kvm: &Kvm) -> Result<VcpuFeatures, HarnessError> {
    let has = |number| hv_kvm::capability(kvm, number).map(|value| value > 0);
    Ok(VcpuFeatures {
        pmu: has(KVM_CAP_ARM_PMU_V3)?,
        sve: has(KVM_CAP_ARM_SVE)?,
        pointer_auth: has(KVM_CAP_ARM_PTRAUTH_ADDRESS)? && has(KVM_CAP_ARM_PTRAUTH_GENERIC)?,
    })
}

impl KvmVm {
    /// Queries the capabilities of this host's KVM, with a temporary virtual machine.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new).
    pub fn host_capabilities() -> Result<HostCapabilities, KvmError> {
        let kvm = open()?;
        let vm = host::create_vm(&kvm)?;
        let has = |device| host::has_device(&vm, device);
        Ok(HostCapabilities {
            address_bits: host::address_bits(&kvm)?,
            features: features(&kvm)?,
            gic_v2: has(device::V2)?,
            gic_v3: has(device::V3)?,
            its: has(device::ITS)?,
        })
    }

    /// Creates the machine of `layout`, without RAM.
    ///
    /// # Errors
    ///
    /// [`HarnessError::Open`] on a host without KVM, [`HarnessError::MissingCapability`] for a missing capability or vCPU
    /// feature, and errors of KVM.
    pub fn new(layout: &Layout) -> Result<Self, KvmError> {
        let features = layout.features;
        let kvm = open()?;
        let host = self::features(&kvm)?;
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
        let address_bits = host::address_bits(&kvm)?;
        let fd = host::create_vm(&kvm)?;
        let mut target = kvm_vcpu_init::default();
        fd.get_preferred_target(&mut target)
            .map_err(failed_request("KVM_ARM_PREFERRED_TARGET"))?;
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
                RamConstraints::new(host::page_size(), address_bits, layout.gic.ranges().collect()),
            ),
            gic: OnceLock::new(),
            created: Mutex::default(),
            layout: layout.clone(),
            target,
            reset_state: ResetState::new(read_new_state),
        })))
    }

    /// Resets the shared part of the interrupt controller, and its ITS, to their state after creation. A machine reset is
    /// this and a reset of every vCPU. No vCPU may be running. The first reset does what [`prepare_reset`](Self::prepare_reset)
    /// does.
    ///
    /// # Errors
    ///
    /// [`KvmError::VcpusNotCreated`] before all vCPUs exist, and errors of KVM.
    pub fn reset_irqchip(&self) -> Result<(), KvmError> {
        let gic = self.0.gic()?;
        let reset_state = self.0.reset_state()?;
        gic.reset_its()?;
        gic.set_shared_state(&reset_state.distributor)
    }

    /// Reads the state to which resets return from a temporary machine of the same layout, which never runs. The first reset
    /// does this otherwise: it opens `/dev/kvm` and creates a virtual machine with all its vCPUs. For programs that give up
    /// access to `/dev/kvm` before the guest runs.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new), and errors of KVM.
    pub fn prepare_reset(&self) -> Result<(), KvmError> {
        self.0.reset_state().map(drop)
    }

    /// Saves the shared part of the interrupt controller: the registers of its distributor by offset. No vCPU may be running.
    ///
    /// It does not include the levels of interrupt lines, which belong to the devices, nor the state of the ITS.
    ///
    /// # Errors
    ///
    /// As [`reset_irqchip`](Self::reset_irqchip).
    pub fn save_distributor(&self) -> Result<BTreeMap<u32, u32>, KvmError> {
        self.0.gic()?.shared_state()
    }

    /// Restores the registers that [`save_distributor`](Self::save_distributor) saves. Registers that `state` does not contain
    /// keep their values. No vCPU may be running.
    ///
    /// # Errors
    ///
    /// As [`reset_irqchip`](Self::reset_irqchip).
    pub fn restore_distributor(&self, state: &BTreeMap<u32, u32>) -> Result<(), KvmError> {
        self.0.gic()?.set_shared_state(state)
    }
}

/// Reads the state after creation from a temporary machine, without its identification registers, which a guest cannot
/// change.
fn read_new_state(layout: &Layout) -> Result<NewState, KvmError> {
    let vm = KvmVm::new(layout)?;
    let mut vcpus = (0..layout.vcpus)
        .map(|index| vm.create_vcpu(index))
        .collect::<Result<Vec<_>, _>>()?;
    let vcpus = vcpus.iter_mut().map(|vcpu| {
        let mut state = vcpu.save_state()?;
        state
            .registers
            .retain(|register, _| !register.is_identification());
        Ok::<_, KvmError>(state)
    });
    Ok(NewState {
        vcpus: vcpus.collect::<Result<_, _>>()?,
        distributor: vm.save_distributor()?,
    })
}

impl Vm for KvmVm {
    type Error = KvmError;
    type Vcpu = KvmVcpu;
    type Ram = RamRegion;

    fn arch(&self) -> Arch {
        Arch::Aarch64
    }

    fn create_vcpu(&self, index: u32) -> Result<KvmVcpu, KvmError> {
        let count = self.0.layout.vcpus;
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
        let irq = gic::irq_line(line).ok_or(KvmError::NoSuchInterruptLine { line })?;
        self.0
            .file
            .fd()
            .set_irq_line(irq, level)
            .map_err(failed_request("KVM_IRQ_LINE"))
    }
}
