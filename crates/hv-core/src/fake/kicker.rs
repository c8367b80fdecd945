//! Kicks of fake vCPUs.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use crate::VcpuKicker;

/// Locks a mutex of the fake hypervisor.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // The fake panics on purpose (`Step::Panic`), but never while it holds a lock.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Kicker of a fake vCPU.
#[derive(Debug, Default)]
pub(super) struct FakeKicker {
    kicked: Mutex<bool>,
    changed: Condvar,
}

impl FakeKicker {
    /// Clears a pending kick; false if there is none.
    pub(super) fn take(&self) -> bool {
        std::mem::take(&mut lock(&self.kicked))
    }

    /// Waits for a kick and clears it.
    pub(super) fn wait(&self) {
        let mut kicked = lock(&self.kicked);
        while !std::mem::take(&mut *kicked) {
            kicked = self.changed.wait(kicked).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl VcpuKicker for FakeKicker {
    fn kick(&self) {
        *lock(&self.kicked) = true;
        self.changed.notify_all();
    }
}
