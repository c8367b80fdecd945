//! A machine's file, and the memory that its guest can reach.
#![expect(unsafe_code, reason = "hands host memory to the kernel as guest RAM")]

use std::{
    collections::BTreeMap,
    mem,
    sync::{Mutex, MutexGuard, PoisonError},
};

use guest_ram::RamRegion;
use kvm_bindings::kvm_userspace_memory_region;
use kvm_ioctls::VmFd;

use crate::{HarnessError, RamRules};

/// The file of a virtual machine, and the RAM that its guest has.
///
/// The RAM stays alive as long as this does. When this is dropped, the guest loses it first: a vCPU that outlives its
/// machine finds no memory. So keep this with every vCPU that is to run.
#[derive(Debug)]
pub struct VmFile {
    fd: VmFd,
    rules: RamRules,
    slots: Mutex<BTreeMap<u32, RamRegion>>,
}

impl VmFile {
    /// A machine without RAM, whose RAM will be where `rules` let it be.
    #[must_use]
    pub fn new(fd: VmFd, rules: RamRules) -> Self {
        Self {
            fd,
            rules,
            slots: Mutex::default(),
        }
    }

    /// The file.
    #[must_use]
    pub fn fd(&self) -> &VmFd {
        &self.fd
    }

    fn slots(&self) -> MutexGuard<'_, BTreeMap<u32, RamRegion>> {
        // A panic with the lock held comes from a caller's closure, which has no way to change the slots.
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Calls `f` with the slots, which meanwhile stay as they are.
    pub fn with_slots<R>(&self, f: impl FnOnce(&BTreeMap<u32, RamRegion>) -> R) -> R {
        f(&self.slots())
    }

    /// Whether guest physical address `address` is RAM.
    #[must_use]
    pub fn is_ram(&self, address: u64) -> bool {
        self.with_slots(|slots| slots.values().any(|ram| ram.range().contains_addr(address)))
    }

    /// Gives the guest `ram` as slot number `slot`.
    ///
    /// # Errors
    ///
    /// As [`RamRules::check`]; [`HarnessError::SlotInUse`], [`HarnessError::RamOverlap`], and
    /// [`HarnessError::Request`] when KVM refuses.
    pub fn map(&self, slot: u32, ram: RamRegion) -> Result<(), HarnessError> {
        let range = ram.range();
        self.rules.check(range)?;
        let mut slots = self.slots();
        if slots.contains_key(&slot) {
            return Err(HarnessError::SlotInUse { slot });
        }
        if let Some((&other, _)) = slots.iter().find(|(_, other)| other.range().overlaps(range)) {
            return Err(HarnessError::RamOverlap { range, other });
        }
        let ram = &*slots.entry(slot).or_insert(ram);
        let result = self.set_slot(slot, ram, range.len());
        if result.is_err() {
            slots.remove(&slot);
        }
        result
    }

    /// Takes slot number `slot` away from the guest and returns its memory.
    ///
    /// # Errors
    ///
    /// [`HarnessError::SlotUnused`], and [`HarnessError::Request`] when KVM refuses.
    pub fn unmap(&self, slot: u32) -> Result<RamRegion, HarnessError> {
        let mut slots = self.slots();
        let ram = slots.get(&slot).ok_or(HarnessError::SlotUnused { slot })?;
        self.set_slot(slot, ram, 0)?;
        slots.remove(&slot).ok_or(HarnessError::SlotUnused { slot })
    }

    /// Makes the first `len` bytes of `ram`, all or none of them, slot number `slot`.
    fn set_slot(&self, slot: u32, ram: &RamRegion, len: u64) -> Result<(), HarnessError> {
        let region = kvm_userspace_memory_region {
            slot,
            flags: 0,
            guest_phys_addr: ram.range().start(),
            memory_size: len,
            userspace_addr: ram.host_addr(),
        };
        // SAFETY: from now on the kernel accesses `len` bytes from `ram.host_addr()`, until the slot is deleted, which is
        // what a length of zero asks for. The memory is mapped for as long as `ram` or a clone of it lives, and one
        // lives in `self.slots`: `map` has put it there, and leaves it there unless the kernel refused the slot;
        // `unmap` and `drop` take it out after the kernel has deleted the slot, or not at all, and nobody else can take
        // anything out. When the kernel has deleted a slot, nothing reaches its memory any more, whoever still has a
        // file of the machine or of a vCPU: it waits for those that are in the guest. No Rust reference to the memory
        // exists: `RamRegion` forbids them.
        unsafe { self.fd.set_user_memory_region(region) }
            .map_err(|error| HarnessError::refused("KVM_SET_USER_MEMORY_REGION", error))
    }
}

impl Drop for VmFile {
    fn drop(&mut self) {
        let slots = mem::take(&mut *self.slots());
        for (slot, ram) in slots {
            if self.set_slot(slot, &ram, 0).is_err() {
                // The guest may still reach it, so it has to stay: for ever, for want of a later moment.
                mem::forget(ram);
            }
        }
    }
}
