//! VM file descriptor, and the RAM slots of the virtual machine.
#![expect(unsafe_code, reason = "hands host memory to the kernel as guest RAM")]

use std::{
    collections::BTreeMap,
    mem,
    sync::{Mutex, MutexGuard, PoisonError},
};

use guest_ram::RamRegion;
use hv_core::{DirtyPages, SlotAttributes};
use kvm_bindings::{KVM_MEM_LOG_DIRTY_PAGES, KVM_MEM_READONLY, kvm_userspace_memory_region};
use kvm_ioctls::VmFd;

use super::{
    dirty_log::{self, DirtyLog},
    retry_interrupted,
};
use crate::{HarnessError, RamConstraints};

/// File descriptor of a virtual machine, with its RAM slots.
///
/// It owns the memory of the slots and deletes the slots when dropped. A vCPU that runs after that has no RAM, so vCPUs keep a
/// reference to it.
#[derive(Debug)]
pub struct VmFile {
    fd: VmFd,
    constraints: RamConstraints,
    slots: Mutex<BTreeMap<u32, RamRegion>>,
    /// The drop deletes the slots.
    deletes_slots: bool,
    /// Whether `KVM_GET_DIRTY_LOG` leaves pages in the log.
    log: DirtyLog,
}

impl VmFile {
    /// Wraps the descriptor of a machine without RAM; `constraints` apply to all later slots.
    #[must_use]
    pub fn new(fd: VmFd, constraints: RamConstraints) -> Self {
        Self {
            fd,
            constraints,
            slots: Mutex::default(),
            deletes_slots: true,
            log: DirtyLog::Taken,
        }
    }

    /// As [`new`](Self::new), for a machine whose drop does not delete the slots one by one: the kernel frees them with the machine, which
    /// takes a fraction of the time. Pages can stay in its dirty logs.
    ///
    /// # Errors
    ///
    /// [`HarnessError::Request`] if KVM cannot configure the dirty logs.
    ///
    /// # Safety
    ///
    /// When the value is dropped, all other descriptors that refer to the machine are closed and their mappings are unmapped: those of its
    /// vCPUs, above all. Otherwise the machine lives on, and its guest accesses memory that is freed.
    pub unsafe fn new_without_slot_deletion(
        fd: VmFd,
        constraints: RamConstraints,
    ) -> Result<Self, HarnessError> {
        let log = DirtyLog::keep(&fd)?;
        let mut file = Self::new(fd, constraints);
        file.deletes_slots = false;
        file.log = log;
        Ok(file)
    }

    /// The descriptor.
    #[must_use]
    pub fn fd(&self) -> &VmFd {
        &self.fd
    }

    fn slots(&self) -> MutexGuard<'_, BTreeMap<u32, RamRegion>> {
        // A panic with the lock held comes from a caller's closure, which cannot change the slots.
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Calls `f` with the RAM slots, which do not change during the call.
    pub fn with_slots<R>(&self, f: impl FnOnce(&BTreeMap<u32, RamRegion>) -> R) -> R {
        f(&self.slots())
    }

    /// Whether guest physical address `address` is in a slot.
    #[must_use]
    pub fn is_ram(&self, address: u64) -> bool {
        self.with_slots(|slots| slots.values().any(|ram| ram.range().contains_addr(address)))
    }

    /// Maps `ram` as slot number `slot`.
    ///
    /// # Errors
    ///
    /// As [`RamConstraints::check`]; [`HarnessError::SlotInUse`], [`HarnessError::RamOverlap`], and
    /// [`HarnessError::Request`].
    pub fn map(&self, slot: u32, ram: RamRegion) -> Result<(), HarnessError> {
        self.map_slot(slot, ram, SlotAttributes::default())
    }

    /// Maps `memory` as slot number `slot`. The guest can read it; its writes are device accesses (`KVM_MEM_READONLY`).
    ///
    /// # Errors
    ///
    /// As [`map`](Self::map).
    pub fn map_read_only(&self, slot: u32, memory: RamRegion) -> Result<(), HarnessError> {
        self.map_slot(slot, memory, SlotAttributes::default().with_read_only(true))
    }

    /// Maps `ram` as slot number `slot` with `attributes`: `KVM_MEM_READONLY` and `KVM_MEM_LOG_DIRTY_PAGES`.
    ///
    /// # Errors
    ///
    /// As [`map`](Self::map).
    pub fn map_slot(
        &self,
        slot: u32,
        ram: RamRegion,
        attributes: SlotAttributes,
    ) -> Result<(), HarnessError> {
        let range = ram.range();
        self.constraints.check(range)?;
        let mut slots = self.slots();
        if slots.contains_key(&slot) {
            return Err(HarnessError::SlotInUse { slot });
        }
        if let Some((&other, _)) = slots.iter().find(|(_, other)| other.range().overlaps(range)) {
            return Err(HarnessError::RamOverlap { range, other });
        }
        let ram = &*slots.entry(slot).or_insert(ram);
        let result = self.set_slot(slot, ram, range.len(), flags(attributes));
        if result.is_err() {
            slots.remove(&slot);
        }
        result
    }

    /// Replaces `dirty` by the pages of slot number `slot` that the guest wrote since the last call, or since the slot was mapped, and
    /// protects them against writes again. If there is one, KVM flushes the translations that the guest's CPUs cached.
    ///
    /// # Errors
    ///
    /// [`HarnessError::SlotNotInUse`]; [`HarnessError::Request`], among others with `ENOENT` for a slot without a dirty log.
    pub fn take_dirty(&self, slot: u32, dirty: &mut DirtyPages) -> Result<(), HarnessError> {
        self.take_dirty_before(slot, usize::MAX, dirty)
    }

    /// As [`take_dirty`](Self::take_dirty), but pages from number `end` on stay in the log and are not protected again. A machine of
    /// [`new`](Self::new), and kernels before 5.0, take all pages.
    ///
    /// # Errors
    ///
    /// As [`take_dirty`](Self::take_dirty).
    pub fn take_dirty_before(
        &self,
        slot: u32,
        end: usize,
        dirty: &mut DirtyPages,
    ) -> Result<(), HarnessError> {
        let slots = self.slots();
        let ram = slots.get(&slot).ok_or(HarnessError::SlotNotInUse { slot })?;
        // SAFETY: the slot has the length of its RAM, and the lock on the slots prevents changes.
        unsafe { dirty_log::read(&self.fd, slot, ram.range().len(), dirty) }?;
        match self.log {
            DirtyLog::Taken => Ok(()),
            DirtyLog::Kept => dirty_log::clear_before(&self.fd, slot, end, dirty),
        }
    }

    /// Unmaps slot number `slot` and returns its memory.
    ///
    /// # Errors
    ///
    /// [`HarnessError::SlotNotInUse`], and [`HarnessError::Request`].
    pub fn unmap(&self, slot: u32) -> Result<RamRegion, HarnessError> {
        let mut slots = self.slots();
        let ram = slots.get(&slot).ok_or(HarnessError::SlotNotInUse { slot })?;
        self.set_slot(slot, ram, 0, 0)?;
        slots.remove(&slot).ok_or(HarnessError::SlotNotInUse { slot })
    }

    /// Maps the first `len` bytes of `ram` (all, or none to delete the slot) as slot number `slot` with `flags`, `KVM_MEM_*`.
    fn set_slot(&self, slot: u32, ram: &RamRegion, len: u64, flags: u32) -> Result<(), HarnessError> {
        let region = kvm_userspace_memory_region {
            slot,
            flags,
            guest_phys_addr: ram.range().start(),
            memory_size: len,
            userspace_addr: ram.host_addr(),
        };
        // SAFETY: the kernel accesses `len` bytes from `ram.host_addr()` until the slot is deleted by a length of zero.
        // The memory stays mapped while `ram` or a clone of it lives, and one lives in `self.slots`: `map` inserts it and
        // removes it only if the ioctl failed; `unmap` and `drop` remove it only after the slot was deleted or, without slot
        // deletion, after the machine was destroyed, and no other code removes entries. After the deletion of a slot no vCPU can access its memory: the kernel waits for those
        // in the guest. No Rust reference to the memory exists: `RamRegion` does not give any.
        let set = || unsafe { self.fd.set_user_memory_region(region) };
        retry_interrupted(set).map_err(|error| HarnessError::request("KVM_SET_USER_MEMORY_REGION", error))
    }
}

impl Drop for VmFile {
    fn drop(&mut self) {
        if !self.deletes_slots {
            // No vCPU is left, as `new_without_slot_deletion` requires. The descriptor is the first field, so it is closed before the
            // memory is freed.
            return;
        }
        let slots = mem::take(&mut *self.slots());
        for (slot, ram) in slots {
            if self.set_slot(slot, &ram, 0, 0).is_err() {
                // The guest may still access the memory, so it is leaked.
                mem::forget(ram);
            }
        }
    }
}

/// The flags of a slot with `attributes`.
fn flags(attributes: SlotAttributes) -> u32 {
    let mut flags = 0;
    if attributes.read_only {
        flags |= KVM_MEM_READONLY;
    }
    if attributes.log_dirty {
        flags |= KVM_MEM_LOG_DIRTY_PAGES;
    }
    flags
}
