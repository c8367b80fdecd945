//! State of a virtual machine that its handle and all its vCPUs share.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, OnceLock, PoisonError},
};

use hv_kvm::{ResetState, VmFile};
use kvm_bindings::kvm_vcpu_init;

use super::gic::GicDevice;
use crate::{KvmError, Layout, VcpuState};

/// State that the handle of the machine and all its vCPUs share. The RAM of the guest stays mapped while one of them exists.
#[derive(Debug)]
pub(super) struct Machine {
    pub(super) file: VmFile,
    pub(super) gic: OnceLock<GicDevice>,
    pub(super) created: Mutex<BTreeSet<u32>>,
    pub(super) layout: Layout,
    pub(super) target: kvm_vcpu_init,
    pub(super) reset_state: ResetState<Layout, NewState, KvmError>,
}

/// State of a machine after its creation.
#[derive(Debug)]
pub(super) struct NewState {
    /// The vCPUs by their numbers, without identification registers.
    pub(super) vcpus: Vec<VcpuState>,
    /// Registers of the distributor by offset.
    pub(super) distributor: BTreeMap<u32, u32>,
}

impl Machine {
    /// Argument of `KVM_ARM_VCPU_INIT`.
    pub(super) fn target(&self) -> kvm_vcpu_init {
        self.target
    }

    /// The interrupt controller, which is created after the last vCPU.
    pub(super) fn gic(&self) -> Result<&GicDevice, KvmError> {
        self.gic.get().ok_or_else(|| {
            let created = self.created.lock().unwrap_or_else(PoisonError::into_inner).len();
            KvmError::VcpusNotCreated {
                created: u32::try_from(created).unwrap_or(u32::MAX),
                count: self.layout.vcpus,
            }
        })
    }

    /// State of the machine after a reset. The first call reads it.
    pub(super) fn reset_state(&self) -> Result<&NewState, KvmError> {
        self.reset_state.get(&self.layout)
    }

    /// State of vCPU `index` after a reset.
    pub(super) fn vcpu_reset_state(&self, index: u32) -> Result<&VcpuState, KvmError> {
        Ok(hv_kvm::state_of_vcpu(&self.reset_state()?.vcpus, index)?)
    }

    /// Records that vCPU `index` was created and initialised. After the last vCPU, creates the interrupt controller.
    pub(super) fn created(&self, index: u32) -> Result<(), KvmError> {
        let mut created = self.created.lock().unwrap_or_else(PoisonError::into_inner);
        created.insert(index);
        if u32::try_from(created.len()) == Ok(self.layout.vcpus) && self.gic.get().is_none() {
            let gic = GicDevice::new(self.file.fd(), &self.layout.gic)?;
            // Does not fail: only this function sets it, with the lock held.
            let _ = self.gic.set(gic);
        }
        Ok(())
    }
}

/// Sets a feature bit of `KVM_ARM_VCPU_INIT`.
pub(super) fn set_feature(init: &mut kvm_vcpu_init, feature: u32) {
    if let Some(word) = usize::try_from(feature / 32)
        .ok()
        .and_then(|word| init.features.get_mut(word))
    {
        *word |= 1 << (feature % 32);
    }
}
