//! The filter that denies all accesses of a guest to MSRs (`KVM_X86_SET_MSR_FILTER`).

use std::{
    hint,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use kvm_ioctls::{MsrFilterDefaultAction, MsrFilterRange, MsrFilterRangeFlags, VmFd};

use crate::{KvmError, kvm::request::failed_request};

/// Time after the creation of a machine in which the kernel takes milliseconds to replace the filter: a grace period of SRCU is expedited only
/// if the last one ended 25 microseconds before (`srcutree.exp_holdoff`).
const HOLD_OFF: Duration = Duration::from_micros(30);

/// The filter of one machine, which is set before the guest can run.
#[derive(Debug)]
pub(super) struct MsrFilter {
    created: Instant,
    is_pending: Mutex<bool>,
}

impl MsrFilter {
    /// The filter of a machine that was just created. `is_wanted` is false if the guest may access MSRs.
    pub(super) fn new(is_wanted: bool) -> Self {
        Self {
            created: Instant::now(),
            is_pending: Mutex::new(is_wanted),
        }
    }

    /// Sets the filter, unless that was done before. Called as late as possible, but before the first memory slot, which starts a grace
    /// period of its own.
    pub(super) fn apply(&self, vm: &VmFd) -> Result<(), KvmError> {
        let mut is_pending = self.is_pending.lock().unwrap_or_else(PoisonError::into_inner);
        if !*is_pending {
            return Ok(());
        }
        while self.created.elapsed() < HOLD_OFF {
            // Shorter than what a sleep takes.
            hint::spin_loop();
        }
        // KVM refuses a filter without ranges. This range denies what the default denies.
        let denied = MsrFilterRange {
            flags: MsrFilterRangeFlags::READ | MsrFilterRangeFlags::WRITE,
            base: 0,
            msr_count: 8,
            bitmap: &[0],
        };
        vm.set_msr_filter(MsrFilterDefaultAction::DENY, &[denied])
            .map_err(failed_request("KVM_X86_SET_MSR_FILTER"))?;
        *is_pending = false;
        Ok(())
    }
}
